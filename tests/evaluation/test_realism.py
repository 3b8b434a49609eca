"""Realism: sums over slices, and intervals over patients."""

import io
import json
import re

import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.evaluation import evaluate_models, realism
from keras_mrisr.evaluation.page import render_page
from keras_mrisr.evaluation.realism import RealismCollector, named_networks
from keras_mrisr.metrics import frechet_distance, kid


class Blocks:
    """Stands in for a VGG: a feature is the mean of a quarter of the patch, for each channel."""

    network, layers, weights = "vgg16", ("block1_conv1",), None

    def __call__(self, images):
        count, height, width, channels = images.shape
        halves = images.reshape(count, 2, height // 2, 2, width // 2, channels).mean(axis=(2, 4))
        return [halves.reshape(count, 1, 1, -1)]


@pytest.fixture(scope="module")
def evaluation(study, pattern, upscaler):
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr("keras_mrisr.evaluation.prepare.named_networks", lambda _: {"blocks": Blocks()})
        context.setattr(realism, "PATCH", 16)
        context.setattr(RealismCollector.__init__, "__defaults__", (16, 16))
        return evaluate_models(
            {"A": upscaler(0.1), "B": upscaler(0.5)}, study, patient_pattern=pattern, realism=[{}],
            metrics=["psnr"], methods=("bicubic",), part="test",
        )  # fmt: skip


def test_contract(evaluation):
    found = evaluation.realism
    assert (found.channel, found.patients, found.images, found.patch) == ("green", 8, 24, 16)
    assert list(found.spectra) == ["bicubic", "A", "B"] and found.patches > 50
    assert [*found.columns] == [
        ("spectrum_75", ""),
        ("spectrum_100", ""),
        ("kid", "blocks"),
        ("fd", "blocks"),
    ]
    for one in found.scores:
        assert one.low <= one.value <= one.high, one
        assert one.low < one.high and (one.low >= 0 or one.measure == "kid")
    for method, error in found.spectra.items():
        assert found.score(method, "spectrum_100").value == np.abs(error).max()
        assert found.score(method, "spectrum_75").value == np.abs(error[:12]).max()
    with pytest.raises(MrisrError, match="No kid of 'C'"):
        found.score("C", "kid")


def test_numbers_are_those_of_all_images(study, pattern, upscaler, smooth_image):
    """Against the metrics taken of everything at once."""
    from keras_mrisr.data import read_image
    from keras_mrisr.degrade import get_degradation, interpolate
    from keras_mrisr.evaluation.regions import tissue_mask

    collector = RealismCollector({"blocks": Blocks()}, bands=8, patch=16)
    evaluation = evaluate_models(
        {"A": upscaler(0.1)}, study, patient_pattern=pattern, metrics=["psnr"], methods=("bicubic",),
        scorers=[Passing(collector)],
    )  # fmt: skip
    degradation, sums, patches = get_degradation("bicubic", 2), [0, 0], [[], []]
    for path in sorted(study.rglob("*[0-9].png")):
        if path.parent.name not in evaluation.protocol.patients:
            continue
        hr = read_image(path)
        tissue = tissue_mask(hr / np.float32(255))
        for place, image in enumerate((hr, interpolate(degradation.degrade(hr), 2, "bicubic"))):
            plane = image[..., 1].astype(float)
            radius = 2 * np.hypot(np.fft.fftfreq(48)[:, None], np.fft.fftfreq(40))
            power = np.abs(np.fft.fft2(plane)) ** 2
            ends = [*np.arange(1, 8) / 8, np.nextafter(1, 2)]  # The last ring has its outer edge.
            rings = [power[(radius >= b / 8) & (radius < end)] for b, end in enumerate(ends)]
            sums[place] += np.array([ring.mean() for ring in rings])
            for y in range(0, 48, 16):
                for x in range(0, 32, 16):
                    if tissue[y : y + 16, x : x + 16].mean() >= 0.5:
                        part = plane[y : y + 16, x : x + 16].reshape(2, 8, 2, 8) / 255
                        patches[place].append(part.mean(axis=(1, 3)).ravel())
    found = collector.result()
    np.testing.assert_allclose(found.spectra["bicubic"], 10 * np.log10(sums[1] / sums[0]), atol=0.05)
    hr, sr = (np.array(each) for each in patches)
    scale = np.sqrt(np.mean(hr**2))
    assert found.patches == len(hr)
    np.testing.assert_allclose(found.score("bicubic", "kid").value, kid(hr / scale, sr / scale), rtol=1e-3)
    np.testing.assert_allclose(
        found.score("bicubic", "fd").value, frechet_distance(hr / scale, sr / scale), rtol=1e-3, atol=1e-7
    )


class Passing:
    """A scorer without scores."""

    measures = ()

    def __init__(self, collector):
        self.collector = collector

    def __call__(self, images):
        self.collector.add(images)
        return {}


def test_the_interval_of_a_mean_is_that_of_the_bootstrap():
    """Of a mean the pseudo-values are the patients' own values."""
    values = np.random.default_rng(0).normal(5, 1, 12)
    one = realism._score("A", "fd", "", 12, lambda chosen: float(values[chosen].mean()))
    expected = realism.bootstrap_interval(values)
    np.testing.assert_allclose((one.value, one.low, one.high), (values.mean(), *expected), rtol=1e-6)
    two = realism._score("A", "fd", "", 2, lambda chosen: float(values[:2][chosen].mean()))
    assert np.isnan([two.low, two.high]).all()


def test_files_tables_and_page(evaluation, tmp_path):
    import rich.console

    evaluation.save(tmp_path / "out")
    text = (tmp_path / "out/metrics.json").read_text()
    values = json.loads(text)["realism"]
    assert values == json.loads(json.dumps(evaluation.realism.to_dict()))
    assert len(values["spectra"]["A"]) == 16 and len(values["scores"]) == 12
    console = rich.console.Console(width=120, record=True, file=io.StringIO())
    console.print(evaluation.report())
    shown = console.export_text()
    assert "spectrum to 3/4 dB" in shown and "KID blocks" in shown and "band by band" in shown
    page = render_page(evaluation)
    assert page.count("Power spectrum, green") and page.count("Perception and distortion")
    section = re.search(r'<section id="realism".*?</section>', page, re.DOTALL)[0]
    plot = re.search(r'<svg class="plot"(?:(?!</svg>).)*KID blocks.*?</svg>', section, re.DOTALL)[0]
    assert all(f"<title>{name}: " in plot for name in ("bicubic", "A", "B"))
    assert "nan" not in section.lower()


def test_nothing_of_it_by_default(study, pattern, upscaler):
    evaluation = evaluate_models(
        {"A": upscaler(0.1)}, study, patient_pattern=pattern, metrics=["psnr"], methods=("bicubic",), limit=3
    )
    assert evaluation.realism is None and 'id="realism"' not in render_page(evaluation)
    assert "realism" not in evaluation.to_dict()


def test_networks_are_called_by_their_files(tmp_path):
    from keras_mrisr.models.vgg import vgg, write_weights

    network = vgg("vgg16", "block1_conv1")
    for name in ("mine/features.h5", "vgg16.h5"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_weights(network, tmp_path / name)
    words = [
        {"network": "vgg16", "weights": str(tmp_path / name), "layers": "block1_conv1"}
        for name in ("mine/features.h5", "vgg16.h5", "vgg16.h5")
    ]
    assert [*named_networks(words)] == ["mine", "vgg16", "vgg16 3"]
