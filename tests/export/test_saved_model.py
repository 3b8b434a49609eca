import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image

from keras_mrisr.export.export import export_model
from keras_mrisr.export.saved_model import WARMUP
from keras_mrisr.inference import SuperResolver


@pytest.fixture(scope="module")
def local(trained):
    return {name: SuperResolver.load(folder) for name, folder in trained.items()}


@pytest.fixture(scope="module")
def loaded(exported):
    return {name: tf.saved_model.load(str(exported[name, "saved_model"] / "1")) for name in ("grey", "rgb")}


def png(array):
    data = io.BytesIO()
    Image.fromarray(array).save(data, "PNG")
    return data.getvalue()


def pixels(data):
    return np.array(Image.open(io.BytesIO(data)))


def test_signatures(loaded):
    signatures = loaded["rgb"].signatures
    assert sorted(signatures) == ["describe", "serving_default", "upscale_image", "upscale_raw"]
    (source,) = signatures["serving_default"].structured_input_signature[1].values()
    assert (source.name, source.shape.as_list(), source.dtype) == ("lr", [None, None, None, 3], tf.float32)
    assert signatures["serving_default"].structured_outputs["sr"].dtype == tf.float32
    info = json.loads(signatures["describe"](query=tf.constant([b""]))["info"].numpy()[0])
    assert (info["scale"], info["channels"], info["degradation"]["name"]) == (2, 3, "bicubic")
    assert info["footprint"]["radius"] > 1
    assert "split" not in info["data"]  # Names of patients stay here.


def test_no_convolution_with_bias(loaded):
    # TensorFlow would merge them, and corrupt its memory under concurrent requests: see separate_biases.
    for name in ("serving_default", "upscale_image", "upscale_raw"):
        graph = loaded["grey"].signatures[name].graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        kinds = {node.op for node in nodes}
        assert "Conv2D" in kinds and "BiasAdd" not in kinds


@pytest.mark.parametrize(("name", "dtype"), [("grey", "uint8"), ("grey", "uint16"), ("rgb", "uint8")])
def test_upscale_image_does_as_the_resolver(loaded, local, smooth_image, name, dtype):
    channels = 3 if name == "rgb" else 1
    images = [smooth_image(12, 10, channels, dtype, 1), smooth_image(9, 15, channels, dtype, 2) // 7]
    images.append(np.full((5, 6, channels), 77, dtype))
    images = [image if channels == 3 else image[..., 0] for image in images]
    run = loaded[name].signatures["upscale_image"]
    results = run(image_bytes=tf.constant([png(image) for image in images]))["image_bytes"].numpy()
    for image, result in zip(images, results, strict=True):
        result, expected = pixels(result), local[name](image)
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result.astype(int), expected.astype(int), atol=1)
    assert (pixels(results[2]) == 77).all()


def test_16_bit_rgb(loaded, local, smooth_image):
    # Pillow reads and writes no such images.
    image = smooth_image(8, 9, 3, "uint16") // 3
    data = tf.io.encode_png(image).numpy()
    result = loaded["rgb"].signatures["upscale_image"](image_bytes=tf.constant([data]))["image_bytes"]
    result = tf.io.decode_png(result.numpy()[0], dtype=tf.uint16).numpy()
    np.testing.assert_allclose(result.astype(int), local["rgb"](image).astype(int), atol=1)


def test_upscale_raw(loaded, local):
    lr = np.random.default_rng(0).random((6, 9, 1), dtype="float32")
    run = loaded["grey"].signatures["upscale_raw"]
    (data,) = run(lr_bytes=tf.constant([lr.tobytes()]), size=tf.constant([[6, 9]]))["sr_bytes"].numpy()
    sr = tf.io.parse_tensor(data, tf.float32).numpy()
    np.testing.assert_allclose(sr, local["grey"].generator.predict_on_batch(lr[np.newaxis])[0], atol=1e-6)
    assert data.endswith(sr.tobytes())


def test_bad_images(loaded, smooth_image):
    run = loaded["rgb"].signatures["upscale_image"]

    def refused(data, message):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            run(image_bytes=tf.constant([data]))

    tiff = io.BytesIO()
    Image.fromarray(smooth_image(4, 4, 3)).save(tiff, "TIFF")
    refused(tiff.getvalue(), "Not a PNG file: send pixels of other formats to serving_default")
    refused(png(smooth_image(4, 4)[..., 0]), "takes RGB images")


OUTSIDE = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "keras_mrisr":
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
import numpy as np
import tensorflow as tf
from tensorflow.python.tools import saved_model_cli
folder, place = sys.argv[1:]
v1 = tf.compat.v1
with v1.Session(graph=tf.Graph()) as session:
    graph = v1.saved_model.loader.load(session, ["serve"], folder)
    signature = graph.signature_def["serving_default"]
    feed = {signature.inputs["lr"].name: np.load(place + "/lr.npy")}
    np.save(place + "/loaded.npy", session.run(signature.outputs["sr"].name, feed))
command = ["run", "--dir", folder, "--tag_set", "serve", "--signature_def", "serving_default"]
command += ["--inputs", f"lr={place}/lr.npy", "--outdir", place]
for words in (["show", "--dir", folder, "--all"], command):
    sys.argv[1:] = words
    try:
        saved_model_cli.main()
    except SystemExit as end:
        assert not end.code, end.code
"""


def test_without_our_python(exported, local, tmp_path):
    """TensorFlow's own session loader, and `saved_model_cli show` and `run`."""
    lr = np.random.default_rng(0).random((2, 7, 9, 1), dtype="float32")
    np.save(tmp_path / "lr.npy", lr)
    words = [sys.executable, "-I", "-c", OUTSIDE, exported["grey", "saved_model"] / "1", tmp_path]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"inputs\['lr'\].*\n.*DT_FLOAT\n.*\(-1, -1, -1, 1\)", done.stdout)
    expected = local["grey"].generator.predict_on_batch(lr)
    for name in ("loaded", "sr"):
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, atol=1e-6)


def test_files_for_tensorflow_serving(exported):
    from tensorflow_serving.apis import prediction_log_pb2
    from tensorflow_serving.config import model_server_config_pb2

    folder = exported["rgb", "saved_model"]
    config = text_format.Parse(
        (folder / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("mrisr", "/models/mrisr", "tensorflow")
    compose = (folder / "docker-compose.yml").read_text()
    assert "./1:/models/mrisr/1:ro" in compose
    assert "@" not in compose + (folder / "batching.config").read_text()
    requests = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        for record in tf.data.TFRecordDataset(str(folder / "1" / WARMUP))
    ]
    assert [request.model_spec.signature_name for request in requests] == [
        "serving_default", "serving_default", "upscale_image"
    ]  # fmt: skip
    signatures = tf.saved_model.load(str(folder / "1")).signatures
    shapes = []
    for request in requests:
        inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        signatures[request.model_spec.signature_name](**inputs)
        shapes.append([list(value.shape) for value in inputs.values()])
    assert shapes == [[[1, 128, 128, 3]], [[1, 256, 256, 3]], [[1]]]


def test_fixed_size(trained, tmp_path, smooth_image):
    export_model(trained["grey"], tmp_path / "fixed", size=(8, 6))
    signatures = tf.saved_model.load(str(tmp_path / "fixed" / "1")).signatures
    (source,) = signatures["serving_default"].structured_input_signature[1].values()
    assert source.shape.as_list() == [None, 8, 6, 1]
    run = signatures["upscale_image"]
    data = tf.constant([png(smooth_image(8, 6)[..., 0])])
    assert pixels(run(image_bytes=data)["image_bytes"].numpy()[0]).shape == (16, 12)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[8,8,1\] is not compatible.*\[8,6,1\]"):
        run(image_bytes=tf.constant([png(smooth_image(8, 8)[..., 0])]))
