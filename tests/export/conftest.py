"""What the tests of exporting share."""

import json
import os
import pathlib
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="session")
def trained(tmp_path_factory, save_model):
    """Model directories whose networks do not only interpolate: {"grey": x2 of 1 channel, "rgb": of 3}."""
    import keras

    root = tmp_path_factory.mktemp("trained")
    folders = {}
    for name, channels in (("grey", 1), ("rgb", 3)):
        folders[name] = save_model(root / name, 2, channels)
        model = keras.saving.load_model(folders[name] / "generator.keras")
        rng = np.random.default_rng(0)
        for weight in model.weights:
            weight.assign(weight + rng.uniform(-0.05, 0.05, weight.shape))
        model.save(folders[name] / "generator.keras")
    return folders


@pytest.fixture(scope="session")
def exported(tmp_path_factory, trained):
    """Exports of them: {("grey", "saved_model"): folder, ("grey", "onnx"): ..., ("rgb", ...): ...}."""
    from keras_mrisr.export import export_model

    root = tmp_path_factory.mktemp("exported")
    folders = {}
    for name, folder in trained.items():
        for to in ("saved_model", "onnx"):
            folders[name, to] = root / f"{name}-{to}"
            export_model(folder, folders[name, to], to, name="mrisr")
    return folders


@pytest.fixture(scope="session")
def server_process(tmp_path_factory, exported):
    """(process, {"grpc": "host:port", "rest": ...}) that serves "mrisr" (grey), "rgb" and "foreign"."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("foreign")
    foreign = tf.Module()
    foreign.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(foreign, str(folder), signatures=foreign.double)
    models = {
        "mrisr": str(exported["grey", "saved_model"] / "1"),
        "rgb": str(exported["rgb", "saved_model"] / "1"),
        "foreign": str(folder),
    }
    words = [sys.executable, "-I", str(HERE / "serving_process.py"), json.dumps(models)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, env=environment, text=True, **pipes) as process:
        try:
            line = process.stdout.readline()
            assert line, f"the server ended with {process.wait()}"
            yield process, json.loads(line)
        finally:
            process.kill()


@pytest.fixture
def server(server_process):
    """{"grpc": "host:port", "rest": "host:port", "tell": function}; a server that behaves until it is told.

    tell(**faults) sets what `serving_process` says, and returns the requests since the last time.
    """
    ports = server_process[1]

    def tell(**faults):
        request = urllib.request.Request(f"http://{ports['rest']}/faults", json.dumps(faults).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    tell()
    yield {**ports, "tell": tell}
    tell()


@pytest.fixture
def inputs(tmp_path, smooth_image):
    """(folder, {name of an image, a folder, a scan: name of a result}); slices of 8x9."""
    import nibabel
    import numpy as np

    from keras_mrisr.data import write_image

    write_image(tmp_path / "in/a.png", smooth_image(8, 9))
    volume = np.stack([smooth_image(8, 9, 1, "float32")[..., 0]] * 3, axis=-1)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.0, 1.0, 3.0, 1.0])), tmp_path / "in.nii")
    return tmp_path, {"in/a.png": "out.png", "in": "out", "in.nii": "out.nii"}
