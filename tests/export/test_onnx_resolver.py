import os
import subprocess
import sys

import keras
import numpy as np
import onnx
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.export import OnnxSuperResolver
from keras_mrisr.export.export import export_model
from keras_mrisr.export.onnx_resolver import METADATA
from keras_mrisr.inference import SuperResolver
from keras_mrisr.models import srresnet


@pytest.fixture(scope="module")
def local(trained):
    return {name: SuperResolver.load(folder) for name, folder in trained.items()}


@pytest.fixture(scope="module")
def resolvers(exported):
    return {name: OnnxSuperResolver.load(exported[name, "onnx"] / "model.onnx") for name in ("grey", "rgb")}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("name", ["grey", "rgb"])
def test_does_as_super_resolver(resolvers, local, smooth_image, name, dtype):
    resolver = resolvers[name]
    assert (resolver.scale, resolver.channels) == (2, local[name].channels)
    image = smooth_image(11, 14, resolver.channels, dtype)
    tolerance = 1 if np.issubdtype(image.dtype, np.integer) else 1e-5
    for options in ({}, {"ensemble": True}):
        np.testing.assert_allclose(resolver(image, **options), local[name](image, **options), atol=tolerance)
    batch = np.stack([image, image[::-1]])
    assert resolver(batch).shape == (2, 22, 28, resolver.channels)


def test_consistency(resolvers, local, smooth_image):
    image = smooth_image(16, 16)
    np.testing.assert_allclose(
        resolvers["grey"](image, consistency=True), local["grey"](image, consistency=True), atol=1
    )


def test_tiles_are_the_whole(resolvers, smooth_image):
    resolver = resolvers["grey"]
    lr = smooth_image(60, 50, 1, "float32")[np.newaxis]
    assert resolver.count_tiles((60, 50), 1000) > 2
    tiled = resolver.predict(lr, most_pixels=1000).sr
    np.testing.assert_allclose(tiled, resolver.predict(lr).sr, atol=1e-6)


def test_prelu_is_split_for_the_cpu(tmp_path, save_model, smooth_image):
    model = srresnet(2, 1, blocks=1, filters=8)
    for layer in model.layers:
        if isinstance(layer, keras.layers.PReLU):
            slopes = np.linspace(-0.1, 1.2, layer.weights[0].shape[-1], dtype="float32")
            layer.set_weights([slopes.reshape(1, 1, -1)])
    model.save(save_model(tmp_path / "run") / "generator.keras")
    export_model(tmp_path / "run", tmp_path / "onnx", "onnx", layout="nchw")
    path = tmp_path / "onnx/model.onnx"
    assert sum(node.op_type == "PRelu" for node in onnx.load(path).graph.node) == 3
    image = smooth_image(9, 8, 1, "float32")
    expected = SuperResolver.load(tmp_path / "run")(image)
    np.testing.assert_allclose(OnnxSuperResolver.load(path)(image), expected, atol=1e-5)


WITHOUT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorboard", "keras", "matplotlib", "tf2onnx"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Blocker())
from keras_mrisr.cli import main
sys.exit(main(sys.argv[1:]))
"""


def without_tensorflow(*words):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-c", WITHOUT, *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, env=environment)


def test_upscale_without_tensorflow(exported, image_root, local, tmp_path):
    from keras_mrisr.data import read_image

    words = ["--model", exported["grey", "onnx"], "--providers", "cpu", "--consistency", "--force"]
    done = without_tensorflow("upscale", image_root / "patient0", tmp_path / "sr", *words)
    assert done.returncode == 0, done.stderr
    for path in (image_root / "patient0").iterdir():
        result = read_image(tmp_path / "sr" / path.name).astype(int)
        expected = local["grey"](read_image(path), consistency=True).astype(int)
        np.testing.assert_allclose(result, expected, atol=1)


def test_rest_client_without_tensorflow(server, image_root, local, tmp_path):
    from keras_mrisr.data import read_image

    source = image_root / "patient1/0.png"
    words = ["serve-client", "upscale", source, tmp_path / "sr.png", "--server", server["rest"], "--rest"]
    done = without_tensorflow(*words)
    assert done.returncode == 0, done.stderr
    result, expected = read_image(tmp_path / "sr.png"), local["grey"](read_image(source))
    np.testing.assert_allclose(result.astype(int), expected.astype(int), atol=1)


def test_without_tensorflow_nothing_else_works(exported, image_root, trained, tmp_path):
    source = image_root / "patient1/0.png"
    for words in (
        ["upscale", source, tmp_path / "sr.png", "--model", trained["grey"]],
        ["serve-client", "upscale", source, tmp_path / "sr.png", "--server", "localhost:1"],
        ["export", "--model", trained["grey"], "--out", tmp_path / "out"],
    ):
        done = without_tensorflow(*words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "which is not installed: pip install keras tensorflow" in done.stderr


def test_a_gpu_that_does_not_start(exported, monkeypatch, caplog, smooth_image):
    """onnxruntime says no word of it but on stderr, and goes on with the CPU."""
    import onnxruntime

    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    session = onnxruntime.InferenceSession

    def without_gpu(network, options, providers):
        return session(network, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", without_gpu)
    with pytest.raises(MrisrError, match="could not start CUDA"):
        OnnxSuperResolver.load(exported["grey", "onnx"], providers=["cuda", "cpu"])
    resolver = OnnxSuperResolver.load(exported["grey", "onnx"])
    assert "could not start CUDA; the network runs on the CPU" in caplog.text
    assert resolver(smooth_image(8, 9)).shape == (16, 18, 1)


def last_node(network, path, kind, constant):
    """A copy of a network with one more node, of an output and a constant, behind it."""
    model = onnx.load(network)
    output = model.graph.output[0].name
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(constant), "constant"))
    for node in model.graph.node:
        node.output[:] = ["before" if name == output else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node(kind, ["before", "constant"], [output], "last"))
    onnx.save(model, path)
    return path


def test_a_network_that_fails_when_it_runs(exported, tmp_path, smooth_image):
    network = exported["grey", "onnx"] / "model.onnx"
    path = last_node(network, tmp_path / "model.onnx", "Reshape", [1, 3, 3, 1])
    with pytest.raises(MrisrError, match=r"model\.onnx fails on \(1, 12, 12, 1\): .*last.*Export it again"):
        OnnxSuperResolver.load(path)(smooth_image(12, 12, 1))


def test_a_network_that_gives_nan(exported, mrisr, listing, inputs):
    folder, targets = inputs
    path = last_node(exported["grey", "onnx"] / "model.onnx", folder / "a.onnx", "Mul", np.float32("nan"))
    before = listing(folder)
    for source, target in targets.items():
        words = ["--model", path, "--nan", "zero"]
        code, _, err = mrisr("upscale", folder / source, folder / target, *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert "a.onnx gives 288 NaN or infinite values, first in slice 0" in err
        assert listing(folder) == before


def test_metadata_that_are_no_text(exported, tmp_path):
    content = (exported["grey", "onnx"] / "model.onnx").read_bytes()
    assert content.count(b'"exported_by"') == 1
    (tmp_path / "model.onnx").write_bytes(content.replace(b'"exported_by"', b'"exported\xff\xfe"'))
    with pytest.raises(MrisrError, match=r"model\.onnx (has damaged metadata|cannot be loaded)"):
        OnnxSuperResolver.load(tmp_path / "model.onnx")


def test_bad_input(exported, trained, tmp_path, mrisr, smooth_image, listing):
    from keras_mrisr.data import write_image

    write_image(tmp_path / "lr.png", smooth_image(8, 9))
    network = exported["grey", "onnx"] / "model.onnx"
    other = onnx.load(network)
    del other.metadata_props[:]
    onnx.save(other, tmp_path / "other.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    for name, text in (("damaged", '{"scale": '), ("list", "[1]")):
        onnx.helper.set_model_props(other, {METADATA: text})
        onnx.save(other, tmp_path / f"{name}.onnx")
    export_model(trained["grey"], tmp_path / "fixed", "onnx", size=(16, 12))

    def refused(message, model, *words):
        before = listing(tmp_path)
        code, _, err = mrisr("upscale", tmp_path / "lr.png", tmp_path / "sr.png", "--model", model, *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err
        assert listing(tmp_path) == before

    refused("nothing.onnx: give the path of a trained model", tmp_path / "nothing.onnx")
    refused("text.onnx cannot be loaded as an ONNX network", tmp_path / "text.onnx")
    refused("other.onnx is not a network of mrisr", tmp_path / "other.onnx")
    refused("damaged.onnx has damaged metadata", tmp_path / "damaged.onnx")
    refused("list.onnx has damaged metadata", tmp_path / "list.onnx")
    refused("no provider 'gpu' here. It has: ", network, "--providers", "cpu, gpu")
    refused("--providers is for an ONNX export", trained["grey"], "--providers", "cpu")
    refused("model.onnx is a model for x2. Received: --scale 4", network, "--scale", "4")
    refused("exported for slices of 16x12 only", tmp_path / "fixed/model.onnx")
    refused("takes 3 channel(s)", exported["rgb", "onnx"] / "model.onnx")
    with pytest.raises(MrisrError, match="of memory are too little"):
        OnnxSuperResolver.load(network, memory=1000)(smooth_image(8, 9))
