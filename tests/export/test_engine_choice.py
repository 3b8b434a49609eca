"""Every engine computes what Keras does; the fastest is measured once."""

import argparse
import functools
import json
import os
import types

import numpy as np
import pytest

from keras_mrisr.commands.model_options import load_models, result_options
from keras_mrisr.commands.upscale import add
from keras_mrisr.data import read_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.export import OnnxSuperResolver, engine_choice, onnx_resolver, openvino_network
from keras_mrisr.export.export import export_model
from keras_mrisr.export.packed import write_packed_onnx
from keras_mrisr.inference import SuperResolver
from keras_mrisr.models import edsr, srresnet
from keras_mrisr.models.storage import load_trained
from keras_mrisr.volumes import Volume, write_volume


def half_precision(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            rng.normal(0, 0.1, weight.shape).astype("float16").astype("float32")
            for weight in model.get_weights()
        ]
    )
    return model


@pytest.fixture(scope="module")
def packed(tmp_path_factory, save_model):
    """Folders of models as they are bundled, with their networks in Keras and ONNX: {scale: folder}."""
    folders = {}
    for scale, channels, direct in ((2, 1, True), (4, 3, False)):
        folder = save_model(tmp_path_factory.mktemp("packed") / f"x{scale}", scale, channels)
        how = {"direct_upsampling": direct, "smooth_upsampling": not direct}
        half_precision(edsr(scale, channels, blocks=1, filters=8, **how)).save(folder / "generator.keras")
        write_packed_onnx(*load_trained(folder), folder / "model.onnx")
        folders[scale] = folder
    return folders


@pytest.mark.parametrize("engine", engine_choice.ENGINES)
@pytest.mark.parametrize("scale", [2, 4])
def test_engines_agree_with_keras(packed, smooth_image, scale, engine):
    pytest.importorskip(engine)
    folder, channels = packed[scale], {2: 1, 4: 3}[scale]
    if (scale, engine) == (4, "ncnn"):
        with pytest.raises(MrisrError, match="ncnn is not given AveragePool"):
            OnnxSuperResolver.load(folder, engine=engine)
        return
    image = smooth_image(21, 17, channels, "float32")
    expected = SuperResolver.load(folder)(image)
    resolver = OnnxSuperResolver.load(folder, engine=engine)
    np.testing.assert_allclose(resolver(image), expected, atol=1e-5)
    pair = np.stack([image, image[::-1]])
    np.testing.assert_allclose(resolver(pair)[1], SuperResolver.load(folder)(image[::-1]), atol=1e-5)


def test_weights_take_half_the_space(packed, tmp_path):
    export_model(packed[2], tmp_path / "whole", "onnx")
    whole, half = (path / "model.onnx" for path in (tmp_path / "whole", packed[2]))
    assert half.stat().st_size < whole.stat().st_size


def test_the_fastest_is_measured_once(packed, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path, made = packed[2] / "model.onnx", []

    class Network:
        def __init__(self, name):
            made.append(name)
            self.name = name

        def predict_on_batch(self, lr):
            if self.name == "broken":
                raise MrisrError("no")
            if self.name == "slow":
                sum(range(300_000))
            return lr

    networks = {name: lambda name=name: Network(name) for name in ("slow", "broken", "quick")}
    assert engine_choice.fastest_engine(path, 1, 2, networks)[0] == "quick"
    assert made == ["slow", "broken", "quick"]
    (times,) = json.loads((tmp_path / "keras-mrisr/engines.json").read_text()).values()
    assert set(times) == {"slow", "quick"}
    engine, network = engine_choice.fastest_engine(path, 1, 2, networks)
    assert (engine, network.name, made[3:]) == ("quick", "quick", ["quick"])
    # Another number of threads is another question, and a broken cache none that stops anything.
    (tmp_path / "keras-mrisr/engines.json").write_text("{")
    assert engine_choice.fastest_engine(path, 1, 1, networks)[0] == "quick"
    assert len(made) == 7


def test_a_cache_that_cannot_be_written_costs_only_time(packed, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert isinstance(OnnxSuperResolver.load(packed[2]), OnnxSuperResolver)


def test_bad_engines(packed, save_model, tmp_path, monkeypatch):
    with pytest.raises(MrisrError, match=r"`engine` must be auto, onnxruntime or openvino or ncnn\. .*'tpu'"):
        OnnxSuperResolver.load(packed[2], engine="tpu")
    export_model(packed[2], tmp_path / "nchw", "onnx", layout="nchw")
    export_model(packed[2], tmp_path / "half", "onnx", precision="float16")
    export_model(packed[2], tmp_path / "fixed", "onnx", size=(16, 12))
    model = half_precision(srresnet(2, 1, blocks=1, filters=8, batch_norm=False))
    model.save(save_model(tmp_path / "run", 2, 1) / "generator.keras")
    export_model(tmp_path / "run", tmp_path / "prelu", "onnx")
    if "ncnn" in engine_choice.installed_engines():
        for name, words in (
            ("nchw", "channels-first"),
            ("half", "is of the precision float16"),
            ("fixed", "slices of one size"),
        ):
            with pytest.raises(MrisrError, match=f"{words}.*: only onnxruntime runs it"):
                OnnxSuperResolver.load(tmp_path / name, engine="ncnn")
        with pytest.raises(MrisrError, match="`providers` are onnxruntime's"):
            OnnxSuperResolver.load(packed[2], engine="ncnn", providers=["cpu"])
        with pytest.raises(MrisrError, match="ncnn is not given PRelu"):
            OnnxSuperResolver.load(tmp_path / "prelu", engine="ncnn")
    monkeypatch.setattr(engine_choice, "installed_engines", lambda: ["onnxruntime"])
    with pytest.raises(MrisrError, match="`engine` openvino is not installed: pip install openvino"):
        OnnxSuperResolver.load(packed[2], engine="openvino")


def multiplies_in_bfloat16():
    return "BF16" in openvino_network._core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_bfloat16_is_close_to_float32_or_refused(packed, smooth_image, mrisr, image_root, tmp_path):
    pytest.importorskip("openvino")
    source, target = image_root / "patient0/0.png", tmp_path / "bf16.png"
    code, _, err = mrisr("upscale", source, target, "--model", packed[2], "--precision", "bfloat16")
    if not multiplies_in_bfloat16():
        assert (code, target.exists()) == (2, False)
        assert "does not multiply in it" in err
        return
    assert code == 0, err
    image = smooth_image(21, 17, 1, "float32")
    exact, near = (
        OnnxSuperResolver.load(packed[2], engine="openvino", precision=precision)(image)
        for precision in ("float32", "bfloat16")
    )
    difference = np.abs(exact - near).max()
    # Eight bits of a number that is added to the interpolation.
    assert 0 < difference < 0.02


def test_bfloat16_needs_a_processor_that_has_it(packed, monkeypatch):
    pytest.importorskip("openvino")

    class Core:
        def get_property(self, device, name):
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino_network, "_core", Core)
    with pytest.raises(MrisrError, match=r"does not multiply in it .*Leave it out"):
        OnnxSuperResolver.load(packed[2], precision="bfloat16")


def test_networks_of_openvino_share_what_lives_as_long_as_the_process(packed, monkeypatch):
    """Ctrl-C and SIGTERM need it: the thread's stack for signals belongs to it."""
    made = []

    class Core:
        def __init__(self):
            made.append(self)

        def compile_model(self, *_):
            return types.SimpleNamespace(create_infer_request=object)

    keep = functools.cache(openvino_network._core.__wrapped__)
    monkeypatch.setattr(openvino_network, "_core", keep)
    monkeypatch.setattr(openvino_network, "_openvino", lambda: types.SimpleNamespace(Core=Core))
    for _ in range(2):
        openvino_network.OpenVinoNetwork(packed[2], 1)
    assert len(made) == 1


@pytest.fixture
def candidates(monkeypatch, tmp_path):
    """What `fastest_engine` is asked to choose from, call by call; it takes the first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen = []

    def choose(path, channels, threads, networks):
        seen.append(list(networks))
        name = next(iter(networks))
        return name, networks[name]()

    monkeypatch.setattr(onnx_resolver, "fastest_engine", choose)
    return seen


@pytest.mark.parametrize(
    ("engine", "precision", "expected"),
    [
        ("auto", "auto", ["onnxruntime", "openvino", "ncnn", "openvino:bfloat16"]),
        ("auto", "float32", ["onnxruntime", "openvino", "ncnn"]),
        ("openvino", "auto", ["openvino", "openvino:bfloat16"]),
        ("onnxruntime", "auto", None),
        ("ncnn", "auto", None),
        ("openvino", "float32", None),
    ],
)
def test_engines_and_precisions_that_are_compared(
    packed, candidates, monkeypatch, engine, precision, expected
):
    for name in ("openvino", "ncnn"):
        pytest.importorskip(name)
    OnnxSuperResolver.load(packed[2], engine=engine, precision=precision)
    assert candidates == ([] if expected is None else [expected])


def test_one_scan_takes_the_faster_precision_and_studies_float32(
    packed, candidates, mrisr, image_root, tmp_path
):
    for name in ("openvino", "ncnn"):
        pytest.importorskip(name)
    code, _, err = mrisr("upscale", image_root / "patient0/0.png", tmp_path / "a.png", "--model", packed[2])
    assert code == 0, err
    assert candidates.pop() == ["onnxruntime", "openvino", "ncnn", "openvino:bfloat16"]
    options = upscale_arguments("--model", str(packed[2]))
    load_models(options, None, None)
    assert candidates.pop() == ["onnxruntime", "openvino", "ncnn"]
    assert result_options(options)["precision"] is None
    assert result_options(upscale_arguments("--precision", "float32"))["precision"] is None
    assert result_options(upscale_arguments("--precision", "auto"))["precision"] == "auto"


def upscale_arguments(*words):
    """Options as `mrisr upscale IN OUT ...` reads them."""
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers(), argparse.ArgumentParser(add_help=False))
    options = parser.parse_args(["upscale", "IN", "OUT", *words])
    assert options.input == "IN"
    return options


def test_grain_is_drawn_in_float32(candidates, save_model, tmp_path):
    for name in ("openvino", "ncnn"):
        pytest.importorskip(name)
    folder = save_model(tmp_path / "grain", 2, 1)
    values = json.loads((folder / "model.json").read_text())
    values["generator"] = {"name": "edsr", "blocks": 1, "filters": 8, "thin_layers": 1, "thin_noise": 1}
    (folder / "model.json").write_text(json.dumps(values))
    options = {key: value for key, value in values["generator"].items() if key != "name"}
    half_precision(edsr(2, 1, **options)).save(folder / "generator.keras")
    write_packed_onnx(*load_trained(folder), folder / "model.onnx")
    OnnxSuperResolver.load(folder, precision="auto")
    assert candidates == [["onnxruntime", "openvino", "ncnn"]]
    with pytest.raises(MrisrError, match="draws grain, whose phases have no digits left in bfloat16"):
        OnnxSuperResolver.load(folder, precision="bfloat16")


def test_a_processor_without_bfloat16_is_left_to_float32(packed, monkeypatch, tmp_path, smooth_image):
    pytest.importorskip("openvino")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    real = onnx_resolver._openvino

    def without(path, threads, precision):
        if precision == "bfloat16":
            raise MrisrError("does not multiply in it")
        return real(path, threads, precision)

    monkeypatch.setattr(onnx_resolver, "_openvino", without)
    image = smooth_image(21, 17, 1, "float32")
    expected = OnnxSuperResolver.load(packed[2], engine="onnxruntime")(image)
    for _ in range(2):  # Measured, then read.
        resolver = OnnxSuperResolver.load(packed[2], precision="auto")
        np.testing.assert_allclose(resolver(image), expected, atol=1e-5)
    (times,) = json.loads((tmp_path / "keras-mrisr/engines.json").read_text()).values()
    assert "openvino:bfloat16" not in times


def test_bad_precisions(packed, mrisr, image_root, tmp_path, monkeypatch):
    with pytest.raises(MrisrError, match=r"`precision` bfloat16 is OpenVINO's\. Received: `engine` ncnn"):
        OnnxSuperResolver.load(packed[2], engine="ncnn", precision="bfloat16")
    with pytest.raises(MrisrError, match="precision must be one of auto, float32, bfloat16"):
        OnnxSuperResolver.load(packed[2], precision="int4")
    for options, message in (
        (("--model", packed[2] / "generator.keras"), "--precision is for an ONNX export"),
        (("--model", packed[2], "--engine", "keras"), "Received: --engine keras, which Keras runs"),
        (("--model", "lgg-x4", "--perception", "1"), "Received: --perception, which Keras runs"),
        (("--model", "thick"), "which Keras runs. Leave out --precision"),
    ):
        target = tmp_path / "a.png"
        source = image_root / "patient0/0.png"
        code, _, err = mrisr("upscale", source, target, *options, "--precision", "bfloat16")
        assert (code, err.count("\n"), target.exists()) == (2, 1, False)
        assert message in err
    monkeypatch.setattr(engine_choice, "installed_engines", lambda: ["onnxruntime"])
    with pytest.raises(MrisrError, match="`engine` openvino is not installed: pip install openvino"):
        OnnxSuperResolver.load(packed[2], precision="bfloat16")


def test_upscale_takes_an_engine(mrisr, packed, image_root, tmp_path):
    source, results = image_root / "patient0/0.png", []
    for engine in ("keras", "onnxruntime", "auto"):
        target = tmp_path / f"{engine}.png"
        options = ["--model", packed[2], "--engine", engine, "--precision", "float32"]
        code, _, err = mrisr("upscale", source, target, *(options[:4] if engine == "keras" else options))
        assert code == 0, err
        results.append(read_image(target).astype(int))
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_bytes((packed[2] / "model.onnx").read_bytes())
    for model, engine, message in (
        (tmp_path / "onnx", "keras", "is an ONNX export: leave out --engine keras"),
        (packed[2] / "generator.keras", "onnxruntime", "--engine is for an ONNX export"),
        ("thick", "onnxruntime", "thick makes thick slices thin, which Keras runs. Leave out --engine"),
    ):
        code, _, err = mrisr("upscale", source, tmp_path / "a.png", "--model", model, "--engine", engine)
        assert (code, err.count("\n"), (tmp_path / "a.png").exists()) == (2, 1, False)
        assert message in err


@pytest.fixture
def on_a_gpu(monkeypatch):
    """As where onnxruntime has CUDA: sessions say that they run on the first provider that is asked for."""
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: available)
    make = onnx_resolver._session

    def session(onnxruntime, path, network, providers, threads):
        made = make(onnxruntime, path, network, ["CPUExecutionProvider"], threads)
        monkeypatch.setattr(made, "get_providers", lambda: list(providers))
        return made

    monkeypatch.setattr(onnx_resolver, "_session", session)


def test_an_engine_that_is_asked_for_runs_it_beside_a_gpu_too(packed, on_a_gpu):
    assert isinstance(OnnxSuperResolver.load(packed[2]).generator, onnx_resolver._Network)
    for engine, kind in (("openvino", "OpenVinoNetwork"), ("ncnn", "NcnnNetwork")):
        pytest.importorskip(engine)
        assert type(OnnxSuperResolver.load(packed[2], engine=engine).generator).__name__ == kind


def test_a_provider_that_is_asked_for_is_onnxruntimes_on_a_gpu_too(packed, monkeypatch):
    """Where TensorFlow could use a GPU, and this onnxruntime cannot."""
    exists = os.path.exists
    monkeypatch.setattr("os.path.exists", lambda path: path == "/dev/nvidia0" or exists(path))
    options = upscale_arguments("--model", str(packed[2]))
    assert not isinstance(load_models(options, None, None), OnnxSuperResolver)
    options = upscale_arguments("--model", str(packed[2]), "--providers", "cpu")
    assert isinstance(load_models(options, None, None), OnnxSuperResolver)


def test_thick_slices_go_through_keras_and_it_says_so(mrisr, tmp_path, smooth_image):
    """A data set may hold scans of both kinds, of which the engine counts for one."""
    volume = Volume(smooth_image(24, 20, 5, "int16"), np.diag([1.0, 1, 4, 1]))
    write_volume(volume, tmp_path / "thick.nii.gz")
    words = ["upscale", tmp_path / "thick.nii.gz", tmp_path / "sr.nii.gz", "--engine", "onnxruntime"]
    code, _, err = mrisr(*words)
    assert code == 0 and "which Keras runs: --engine counts for finer planes only" in err


def test_a_bundled_network_by_its_name(smooth_image):
    image = smooth_image(12, 10)
    resolver = OnnxSuperResolver.load("any-x2", engine="onnxruntime")
    assert resolver.name == "any-x2" and resolver(image).shape == (24, 20, 1)
    with pytest.raises(MrisrError, match=r"No model at any-x3.*any-x2"):
        OnnxSuperResolver.load("any-x3")
