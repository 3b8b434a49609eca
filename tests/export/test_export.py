import dataclasses
import io
import json
import pathlib
import shutil
import tarfile

import keras
import nibabel
import numpy as np
import pytest
from PIL import Image

from keras_mrisr.data import read_image, write_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.export.calibration import real_slices
from keras_mrisr.export.export import export_model, parse_size
from keras_mrisr.export.litert import load_litert
from keras_mrisr.export.onnx_resolver import OnnxSuperResolver
from keras_mrisr.inference import SuperResolver, upscale_path
from keras_mrisr.models.layers import PixelShuffle
from keras_mrisr.models.storage import load_info

LGG = pathlib.Path(__file__).parents[2].parent / "shared/data/lgg/lgg-0.tar"
TINY = [
    "--epochs", 1, "--batch-size", 2, "--patch-size", 32, "--generator", "srresnet",
    "--degradation", "bicubic", "--set", "generator.blocks=1", "--set", "generator.filters=8",
    "--set", "training.steps_per_epoch=4", "--set", "training.validation_slices=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def lgg_slices(tmp_path_factory, lgg_root):
    """A tree like kaggle_3m: two slices of 7 patients of the real set, or made-up ones without it."""
    if not LGG.is_file():
        return lgg_root
    root = tmp_path_factory.mktemp("real") / "kaggle_3m"
    with tarfile.open(LGG) as tar:
        names = tar.getnames()
        for patient in sorted({name.split("/")[0] for name in names})[:7]:
            for name in (f"{patient}/{patient}_{place}" for place in (10, 11)):
                for suffix in (".webp", "_mask.png"):
                    image = Image.open(io.BytesIO(tar.extractfile(name + suffix).read()))
                    image = np.asarray(image.convert("L" if "mask" in suffix else "RGB"))[64:192, 64:192]
                    write_image(root / f"{name}{suffix.split('.')[0]}.tif", image.reshape(128, 128, -1))
    return root


def test_from_training_to_the_client(mrisr, server, lgg_slices, tmp_path):
    """The whole path: train, export, serve, client."""

    def run(*words):
        code, out, err = mrisr(*words)
        assert code == 0, err
        return out

    run("train", "--data", lgg_slices, "--out", tmp_path / "run", *TINY)
    out = run(
        "export", "--model", tmp_path / "run", "--to", "saved_model", "--out", tmp_path / "mrisr",
        "--calibration", lgg_slices,
    )  # fmt: skip
    assert "Equal to Keras: difference of" in out
    record = json.loads((tmp_path / "mrisr/export.json").read_text())
    assert record["parity"]["max_difference"] < 1e-4
    assert "real" in [case["input"] for case in record["parity"]["cases"]]
    assert record["model"]["licence"].startswith("CC BY-NC-SA 4.0")
    lr = tmp_path / "lr"
    slices = sorted(lgg_slices.glob("*/*_1*.tif"))[:6]
    for number, path in enumerate(path for path in slices if "mask" not in path.name):
        image = read_image(path)
        write_image(lr / f"{number}.tif", image[: 60 + 8 * (number % 2), :50])
    server["tell"](load={"lgg": str(tmp_path / "mrisr/1")})
    for transport in ("rest", "grpc"):
        words = ["--server", server[transport], f"--{transport}", "--name", "lgg"]
        run("serve-client", "upscale", lr, tmp_path / f"sr-{transport}", *words)
    run("upscale", lr, tmp_path / "sr", "--model", tmp_path / "run")
    for path in (tmp_path / "sr").iterdir():
        for transport in ("rest", "grpc"):
            served = read_image(tmp_path / f"sr-{transport}" / path.name).astype(int)
            np.testing.assert_allclose(served, read_image(path).astype(int), atol=1)


def test_volume_on_a_server_keeps_its_geometry(mrisr, server, trained, tmp_path, smooth_image):
    scan = np.stack([smooth_image(24, 20, 1, "float32", seed)[..., 0] for seed in range(6)], axis=-1)
    affine = np.array([[0, 1, 0, 5], [-1.5, 0, 0, 7], [0, 0, 4, -3], [0, 0, 0, 1]], "float64")
    nibabel.save(nibabel.Nifti1Image((scan * 900).astype("int16"), affine), tmp_path / "scan.nii.gz")
    words = ["serve-client", "upscale", tmp_path / "scan.nii.gz", tmp_path / "sr.nii.gz"]
    code, _, err = mrisr(*words, "--server", server["grpc"], "--batch", 2)
    assert code == 0, err
    code, _, err = mrisr("upscale", *words[2:3], tmp_path / "local.nii.gz", "--model", trained["grey"])
    assert code == 0, err
    served, local = (nibabel.load(tmp_path / name) for name in ("sr.nii.gz", "local.nii.gz"))
    np.testing.assert_array_equal(served.affine, local.affine)
    np.testing.assert_allclose(served.get_fdata(), local.get_fdata(), atol=1)
    assert [request["shapes"] for request in server["tell"]()] == [[[2, 24, 20, 1]]] * 3


def test_onnx_in_other_forms(trained, lgg_root, image_root, tmp_path):
    half = export_model(trained["grey"], tmp_path / "half", "onnx", layout="nchw", precision="float16")
    assert 0 < half.parity["max_difference"] < 5e-3
    small = export_model(
        trained["rgb"], tmp_path / "small", "onnx", precision="int8", calibration=lgg_root, symmetric=True
    )
    assert small.parity is None
    assert 0 < abs(small.psnr["float32"] - small.psnr["int8"]) < 0.3
    assert any("INT8 costs" in line for line in small.lines())
    text = (tmp_path / "small/tensorrt.md").read_text()
    assert "nodes are supported" in text
    assert "--optShapes=lr:4x128x128x3" in text
    assert "--minShapes=lr:1x1x64x64" in (tmp_path / "half/tensorrt.md").read_text()
    triton = (tmp_path / "half/config.pbtxt").read_text()
    assert 'name: "lr" data_type: TYPE_FP32 dims: [ 1, -1, -1 ]' in triton
    assert (tmp_path / "small/card.md").read_text() == "A card.\n"
    assert json.loads((tmp_path / "small/export.json").read_text())["psnr"] == small.psnr


def test_recipes_for_tensorrt(trained, tmp_path):
    export_model(trained["rgb"], tmp_path / "out", "onnx", size=(48, 64))
    text = (tmp_path / "out/tensorrt.md").read_text()
    assert "--maxShapes=lr:8x48x64x3" in text
    assert "--input-shapes lr:[4,48,64,3]" in text


def test_int8_of_one_size(trained, tmp_path, lgg_root):
    for size in ((12, 20), (16, 16)):  # The slices' LR has 16x16.
        export = export_model(
            trained["rgb"],
            tmp_path / "x".join(map(str, size)),
            "onnx",
            precision="int8",
            calibration=lgg_root,
            size=size,
        )
        assert export.psnr["slices"] > 1


def test_model_for_any_channels(trained, tmp_path, lgg_root, smooth_image, caplog):
    """What `SuperResolver` knows of the data goes along: channels one by one, sizes, the licence."""
    folder = tmp_path / "any"
    shutil.copytree(trained["grey"], folder)
    values = json.loads((folder / "model.json").read_text())
    values["data"] = {
        "separate_channels": True,
        "domain": {"lr_size": [100.0, 200.0]},
        "licence": "Mine alone.",
        "split": {"train": ["Jane Doe"], "val": [], "test": []},
    }
    (folder / "model.json").write_text(json.dumps(values))
    export = export_model(folder, tmp_path / "out", "onnx", precision="int8", calibration=lgg_root)
    assert export.psnr["slices"] > 1
    assert export.metadata["licence"] == "Mine alone."
    assert "Jane" not in json.dumps(export.metadata)
    resolver = OnnxSuperResolver.load(tmp_path / "out")
    assert resolver(smooth_image(9, 12, 3)).shape == (18, 24, 3)
    write_image(tmp_path / "in.png", smooth_image(9, 12, 3))
    upscale_path(tmp_path / "in.png", tmp_path / "sr.png", resolver)
    assert "made for 100 to 200" in caplog.text


def test_litert(trained, tmp_path, smooth_image):
    export = export_model(trained["rgb"], tmp_path / "out", "litert", size=(10, 14))
    assert export.parity["max_difference"] < 1e-5
    batch = smooth_image(10, 14, 3, "float32")[np.newaxis].repeat(2, axis=0)
    sr = load_litert(tmp_path / "out/model.tflite")(batch)
    expected = SuperResolver.load(trained["rgb"]).generator.predict_on_batch(batch)
    np.testing.assert_allclose(sr, expected, atol=1e-5)


def test_slices_of_other_patients_measure(trained, lgg_root):
    info = load_info(trained["rgb"])
    found = real_slices(lgg_root, info, count=4)
    assert len(found.calibration) == len(found.lr) == len(found.hr) == 4
    assert found.lr[0].shape == (16, 16, 3)
    assert found.hr[0].shape == (32, 32, 3)
    patients = sorted(path.name for path in lgg_root.iterdir())
    split = {"train": patients[:1], "test": patients[1:2]}
    own = real_slices(lgg_root, dataclasses.replace(info, data={"split": split}), count=9)
    assert len(own.calibration) == len(own.lr) == 3
    first = read_image(lgg_root / patients[1] / f"{patients[1]}_1.tif")
    np.testing.assert_allclose(own.hr[0], first / np.float32(255))


def test_one_patient_gives_every_other_slice(trained, image_root, tmp_path):
    shutil.copytree(image_root / "patient0", tmp_path / "patient0")
    found = real_slices(tmp_path, load_info(trained["grey"]))
    assert (len(found.calibration), len(found.lr)) == (2, 1)


def test_parse_size():
    assert parse_size("256x128") == (256, 128)
    assert parse_size("32x32x16") == (32, 32, 16)


@pytest.fixture
def refused(mrisr, listing, tmp_path, monkeypatch):
    """A function (message, words) that runs an export which must be refused properly."""
    monkeypatch.chdir(tmp_path)

    def check(message, model, *words):
        before = listing(tmp_path)
        code, _, err = mrisr("export", "--model", model, "--out", "out", *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err
        assert listing(tmp_path) == before

    return check


def test_bad_input(refused, trained, tmp_path, image_root, lgg_root):
    grey = trained["grey"]
    refused("No model at nothing", "nothing")
    shutil.copytree(grey, tmp_path / "untrained")
    (tmp_path / "untrained/generator.keras").unlink()
    refused("holds no generator.keras: the run has not saved a model yet", "untrained")
    refused("to must be one of saved_model, onnx, litert. Received: 'coreml'", grey, "--to", "coreml")
    refused("precision must be one of", grey, "--to", "onnx", "--precision", "int4")
    refused("saved_model is written as float32, nhwc", grey, "--precision", "float16")
    refused("INT8 is calibrated on real slices: give a folder", grey, "--to", "onnx", "--precision", "int8")
    refused("--symmetric is a kind of int8", grey, "--to", "onnx", "--symmetric")
    refused("--size must be HEIGHTxWIDTH, such as 256x256", grey, "--size", "256")
    refused("--size must be HEIGHTxWIDTH", grey, "--size", "0x256")
    refused("takes sizes of 2 axes. Received: 8x8x8", grey, "--size", "8x8x8")
    refused("LiteRT networks have one size: give it as --size", grey, "--to", "litert")
    refused("'a b' is no name for a model on a server", grey, "--name", "a b")
    refused("has 3 channels where 1 were expected", grey, "--calibration", lgg_root)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")
    refused("out exists and is not empty", grey)
    refused("out holds thesis.txt, which does not come from this command", grey, "--overwrite")


def test_custom_layer_that_is_not_known(refused, trained, tmp_path):
    import keras

    class Mine(keras.layers.Layer):
        def call(self, x):
            return x

    shutil.copytree(trained["grey"], tmp_path / "own")
    inputs = keras.Input((None, None, 1))
    keras.Model(inputs, Mine()(inputs)).save(tmp_path / "own/generator.keras")
    refused("own/generator.keras holds 'Mine', which is neither Keras' nor this package's", "own")


@pytest.mark.parametrize("to", ["saved_model", "onnx", "litert"])
def test_network_that_differs_leaves_nothing(refused, trained, monkeypatch, to):
    from keras_mrisr.export import deployable

    def broken(generator):
        generator.get_layer("input_conv").kernel.assign_add(generator.get_layer("input_conv").kernel * 0.01)
        return generator

    # The reference is traced before, with the kernel as a constant of its own copy.
    monkeypatch.setattr(deployable, "deployable", lambda generator: broken(_copy(generator)))
    refused("differs from Keras by", trained["grey"], "--to", to, "--size", "16x16")


def _copy(generator):
    import keras

    copy = keras.models.clone_model(generator)
    copy.set_weights(generator.get_weights())
    return copy


@pytest.fixture
def black_and_real(tmp_path, smooth_image):
    """A folder in which the first and the last third of each patient's slices are air."""
    for patient in ("a", "b"):
        for number in range(9):
            image = smooth_image(32, 32, 1) if 3 <= number < 6 else np.zeros((32, 32, 1), "uint8")
            write_image(tmp_path / "slices" / patient / f"{number}.png", image)
    return tmp_path / "slices"


def test_slices_that_show_nothing_neither_calibrate_nor_measure(trained, black_and_real):
    slices = real_slices(black_and_real, load_info(trained["grey"]))
    assert len(slices.calibration) == len(slices.lr) == len(slices.hr) == 3
    assert min(one.std() for one in (*slices.calibration, *slices.lr)) > 0.05


def test_a_folder_of_air_is_no_calibration(trained, tmp_path):
    for number in range(4):
        write_image(tmp_path / "air" / f"{number}.png", np.full((32, 32, 1), number, "uint8"))
    with pytest.raises(MrisrError, match="air: its slices show nothing but air"):
        export_model(
            trained["grey"], tmp_path / "out", "onnx", precision="int8", calibration=tmp_path / "air"
        )
    assert not (tmp_path / "out").exists()


def test_signed_int8_is_said_to_be_slow_on_a_cpu(trained, black_and_real, tmp_path, caplog):
    for symmetric in (True, False):
        caplog.clear()
        options = {
            "precision": "int8",
            "calibration": black_and_real,
            "symmetric": symmetric,
            "overwrite": True,
        }
        export_model(trained["grey"], tmp_path / "out", "onnx", **options)
        OnnxSuperResolver.load(tmp_path / "out")
        assert ("8-bit activations with a sign" in caplog.text) == symmetric


def test_a_keras_model_that_fit_trained(tmp_path, black_and_real, smooth_image):
    inputs = keras.Input((None, None, 1))
    conv = keras.layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    model = keras.Model(inputs, PixelShuffle(2, name="shuffle")(conv), name="own")
    model.compile("sgd", "mse")
    lr, hr = np.ones((2, 8, 8, 1), "float32"), np.ones((2, 16, 16, 1), "float32")
    model.fit(lr, hr, verbose=0, shuffle=False)
    export = export_model(model, tmp_path / "onnx", "onnx")
    assert export.metadata["scale"] == 2
    sr = OnnxSuperResolver.load(tmp_path / "onnx").generator.predict_on_batch(lr)
    np.testing.assert_allclose(sr, model(lr), atol=1e-5)
    with pytest.raises(MrisrError, match="does not say what it was trained to undo: give its `degradation`"):
        export_model(model, tmp_path / "int8", "onnx", precision="int8", calibration=black_and_real)
    options = {"calibration": black_and_real, "degradation": "bicubic"}
    assert export_model(model, tmp_path / "int8", "onnx", precision="int8", **options).psnr["slices"] == 3
