import csv
import io
import json
import math

import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from keras_mrisr.data import Split, read_dataset, read_image, split_patients
from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.errors import MrisrError
from keras_mrisr.evaluation import Protocol, evaluate_model
from keras_mrisr.models.storage import ModelInfo

SPLIT = Split(train=("a", "b"), val=("c",), test=("d", "e"))


class Upscaler:
    """Stands in for a SuperResolver: upscales by Lanczos, or knows the answers."""

    def __init__(self, scale=2, channels=3, split=SPLIT, degradation="bicubic", answers=None):
        self.scale, self.channels = scale, channels
        self.answers = answers
        self.options = []
        self.info = ModelInfo(
            scale=scale,
            channels=channels,
            generator={},
            degradation=get_degradation(degradation, scale).to_dict(),
            data={"split": split.to_dict()} if split else {},
        )

    def __call__(self, lr, **options):
        self.options.append(options)
        assert lr.dtype == np.uint8 and lr.ndim == 4
        if self.answers is None:
            return np.stack([interpolate(one, self.scale, "lanczos") for one in lr])
        return np.stack([self.answers[one.tobytes()] for one in lr])


def write_slices(root, patients="abcdef", slices=2, shape=(32, 40, 3), dtype="uint8"):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]]
    head = np.hypot(y - shape[0] / 2, x - shape[1] / 2) < 0.45 * min(shape[:2])
    for patient in patients:
        (root / patient).mkdir(parents=True)
        for index in range(slices):
            coarse = rng.uniform(0.3, 1.0, (8, 8, 3)).astype("float32")
            image = np.clip(interpolate(coarse, 8, "bicubic")[: shape[0], : shape[1]], 0, 1)
            image = image * head[..., np.newaxis] * np.iinfo(dtype).max * 0.7
            image = image.astype(dtype) if shape[2] == 3 else image[..., 0].astype(dtype)
            Image.fromarray(image).save(root / patient / f"{index}.png")
    return root


def read_rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def root(tmp_path):
    return write_slices(tmp_path / "slices")


def test_held_out_patients_only(root):
    evaluation = evaluate_model(Upscaler(), root)
    assert {score.patient for score in evaluation.scores} == {"d", "e"}
    assert evaluation.protocol.patients == ("d", "e")
    assert evaluation.protocol.images == 4
    assert any("2 patients of the data trained the model" in note for note in evaluation.notes)
    # Images x methods x channels x regions.
    assert len(evaluation.scores) == 4 * 4 * 2 * 2


def test_numbers_equal_skimage(root):
    evaluation = evaluate_model(Upscaler(degradation="paper"), root)
    for name in ("d/0.png", "e/1.png"):
        hr = read_image(root / name)
        lr = get_degradation("paper", 2).degrade(hr)
        rows = {(s.method, s.channel, s.region): s for s in evaluation.scores if s.path == root / name}
        for method, channel in (("bicubic", "RGB"), ("SR", "RGB"), ("nearest", "green")):
            sr = interpolate(lr, 2, "lanczos" if method == "SR" else method)
            part = np.s_[:] if channel == "RGB" else np.s_[1:2]
            one, two = hr[..., part], sr[..., part]
            row = rows[method, channel, "whole"].values
            assert row["psnr"] == pytest.approx(peak_signal_noise_ratio(one, two, data_range=255), abs=1e-3)
            expected = structural_similarity(
                one,
                two,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=255,
                channel_axis=-1,
            )
            assert row["ssim"] == pytest.approx(expected, abs=1e-4)
            assert rows[method, channel, "tissue"].values["psnr"] < row["psnr"]  # The background is easy.
    assert evaluation.mean("SR") == evaluation.mean("lanczos")


def test_perfect_model_is_excluded_and_counted(root):
    answers = {}
    for path in root.glob("*/*.png"):
        hr = read_image(path)
        answers[get_degradation("bicubic", 2).degrade(hr).tobytes()] = hr
    evaluation = evaluate_model(Upscaler(answers=answers), root)
    assert evaluation.mean("SR", "ssim") == pytest.approx(1, abs=1e-6)
    assert math.isnan(evaluation.mean("SR", "psnr"))
    assert {row.excluded for row in evaluation.summary if row.metric == "psnr"} == {4}
    assert all(math.isinf(score.values["psnr"]) for score in evaluation.scores if score.method == "SR")
    Console(quiet=True).print(evaluation.report())


def test_files_are_complete(root, tmp_path):
    out = tmp_path / "out"
    evaluation = evaluate_model(Upscaler(), root, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "figure.png",
        "metrics.json",
        "per_image.csv",
        "per_patient.csv",
    ]
    stored = json.loads((out / "metrics.json").read_text())
    assert Protocol.from_dict(stored["protocol"]) == evaluation.protocol
    assert stored["notes"] == list(evaluation.notes)
    row = next(r for r in stored["summary"] if (r["method"], r["metric"]) == ("SR", "psnr"))
    assert row["image_mean"] == pytest.approx(evaluation.mean("SR"))
    images = read_rows(out / "per_image.csv")
    assert len(images) == len(evaluation.scores)
    assert images[0]["path"] == "d/0.png" and float(images[0]["psnr"]) > 10
    assert len(read_rows(out / "per_patient.csv")) == 2 * 4 * 2 * 2
    with pytest.raises(MrisrError, match="not empty"):
        evaluate_model(Upscaler(), root, out)


def test_report_fits_the_terminal_and_states_the_protocol(root):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(evaluate_model(Upscaler(), root).report())
    text = console.export_text()
    assert "…" not in text
    text = " ".join(text.split())  # Long lines are wrapped.
    for word in ("bicubic", "lanczos", "SR", "RGB, tissue", "part test", "Pillow", "data range 1"):
        assert word in text


def test_grey_16_bit_slices_of_odd_size(tmp_path):
    root = write_slices(tmp_path / "deep", "de", 1, (33, 41, 1), "uint16")
    protocol = evaluate_model(Upscaler(channels=1), root).protocol
    assert (protocol.cropped, protocol.converted) == (2, 2)
    assert protocol.channels == ("grey",)
    assert any("cropped" in line and "brought to 8 bit" in line for line in protocol.lines())


def test_slices_of_several_sizes_keep_their_order(tmp_path):
    root = write_slices(tmp_path / "mixed", "d", 2)
    write_slices(tmp_path / "other", "e", 2, (24, 24, 3))
    (tmp_path / "other" / "e").rename(root / "e")
    done = []
    evaluation = evaluate_model(Upscaler(), root, progress=lambda *numbers: done.append(numbers))
    assert [(s.patient, s.index) for s in evaluation.scores[::16]] == [("d", 0), ("d", 1), ("e", 0), ("e", 1)]
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_constant_slices_do_not_poison_the_mean(root):
    Image.fromarray(np.zeros((32, 40, 3), "uint8")).save(root / "d" / "2.png")
    evaluation = evaluate_model(Upscaler(), root)
    assert math.isfinite(evaluation.mean("SR")) and math.isfinite(evaluation.mean("SR", region="tissue"))
    assert {row.excluded for row in evaluation.summary if row.metric == "psnr"} == {1}


def test_limit_methods_ensemble_and_part(root):
    model = Upscaler()
    evaluation = evaluate_model(
        model, root, part="all-unseen", limit=3, methods=("bicubic",), ensemble=True, figure_cases=0
    )
    assert evaluation.protocol.images == 3
    assert {score.patient for score in evaluation.scores} == {"d", "e", "f"}
    assert {score.method for score in evaluation.scores} == {"bicubic", "SR"}
    assert model.options == [{"ensemble": True}] * 3


def test_consistency(root):
    model = Upscaler()
    evaluation = evaluate_model(model, root, consistency=True, figure_cases=0)
    assert model.options == [{"consistency": True}] * 4
    assert any("made consistent with LR" in line for line in evaluation.protocol.lines())


def test_another_degradation(root):
    easy = evaluate_model(Upscaler(), root)
    hard = evaluate_model(Upscaler(), root, degradation=get_degradation("paper", 2))
    assert hard.protocol.degradation["name"] == "paper"
    assert hard.mean("bicubic") < easy.mean("bicubic")


@pytest.mark.parametrize(
    "model,options,message",
    [
        ({"channels": 1}, {}, r"d.0\.png has 3 channels"),
        ({}, {"scale": 4}, "is a x2 model, not x4"),
        ({}, {"part": "train"}, "Unknown part"),
        ({}, {"limit": 0}, "limit"),
        ({}, {"methods": ("linear",)}, "linear"),
        ({}, {"degradation": get_degradation("bicubic", 3)}, "scale 3"),
        ({"split": Split(train=tuple("abcdef"), val=(), test=())}, {}, "no patient of the part"),
        ({"scale": 4}, {"degradation": get_degradation("bicubic", 4, sigma=9.0)}, r"d.0\.png: .* too small"),
    ],
)
def test_bad_input_leaves_nothing_behind(root, tmp_path, model, options, message):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(MrisrError, match=message) as error:
        evaluate_model(Upscaler(**model), root, tmp_path / "out", **options)
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.iterdir()) == before


def keras_model(scale, channels):
    """What a user of Keras trains: here it repeats pixels."""
    inputs = keras.Input((None, None, channels))
    return keras.Model(inputs, keras.layers.UpSampling2D(scale)(inputs))


@pytest.mark.parametrize(("scale", "channels"), [(2, 3), (4, 3)])
def test_keras_model(root, scale, channels):
    """Scale and channels follow from its shapes; whom it was trained on is not known, so all are taken."""
    evaluation = evaluate_model(keras_model(scale, channels), root, degradation="bicubic", figure_cases=0)
    assert evaluation.protocol.scale == scale
    assert evaluation.mean("SR") == pytest.approx(evaluation.mean("nearest"), abs=1e-6)
    assert evaluation.protocol.part == "unknown"
    assert evaluation.notes == (
        "The model does not say whom it was trained on: all 6 patients are taken, seen or not.",
    )


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (keras_model(2, 3), {}, "does not say what it was trained to undo: give the `degradation`"),
        (keras_model(2, 1), {"degradation": "bicubic"}, r"has 3 channels, but \S+ takes 1"),
        (
            5,
            {"degradation": "bicubic"},
            "path or name of a model, or a Keras model. Received: int",
        ),
    ],
)
def test_keras_models_that_do_not_fit(root, model, options, message):
    with pytest.raises(MrisrError, match=message):
        evaluate_model(model, root, **options)


def test_unknown_option(root):
    with pytest.raises(TypeError, match="metric"):
        evaluate_model(Upscaler(), root, metric="psnr")


def test_no_such_model_or_data(root, tmp_path):
    with pytest.raises(MrisrError, match="No model"):
        evaluate_model(tmp_path / "missing", root)
    with pytest.raises(MrisrError, match="does not exist"):
        evaluate_model(Upscaler(), tmp_path / "missing")


def test_slices_smaller_than_the_window(tmp_path):
    root = write_slices(tmp_path / "tiny", "d", 1, (10, 20, 3))
    with pytest.raises(MrisrError, match="too small for SSIM"):
        evaluate_model(Upscaler(), root)


def test_model_of_separate_channels_is_scored_on_all_of_them(tmp_path, lgg_root, save_model):
    dataset = read_dataset(lgg_root)
    split = split_patients(dataset.sites)
    folder = save_model(tmp_path / "grey", channels=1, split=split)
    info = json.loads((folder / "model.json").read_text())
    info["data"]["separate_channels"] = True
    (folder / "model.json").write_text(json.dumps(info))
    evaluation = evaluate_model(folder, lgg_root)
    assert evaluation.protocol.channels[0] == "RGB"
    # The untrained network is the bicubic interpolator without antialiasing.
    assert abs(evaluation.mean(delta=True)) < 1
