"""What many tests share. Fixtures only: test files don't import from each other."""

import logging
import os
import shutil
import tempfile

# Before anything imports TensorFlow: the same numbers on machines with and without a GPU, and silence.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# What is measured of engines stays out of the user's cache.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="mrisr-tests-cache-")

import numpy as np
import pytest

from keras_mrisr.terminal import _LogHandler


def _seed():
    import keras

    keras.utils.set_random_seed(0)


# What a test draws at random, initial weights among it, is the same in each run: seeded before its
# fixtures, and before the test itself, whichever fixtures were there already.
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call():
    _seed()


@pytest.fixture(scope="session")
def smooth_image():
    """A function (height, width, channels, dtype, seed) -> random image with structure at all sizes."""

    def make(height, width, channels=1, dtype="uint8", seed=0):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width]
        image = np.zeros((height, width, channels))
        for _ in range(12):
            fy, fx = rng.uniform(-0.12, 0.12, 2)
            phases = rng.uniform(0, 2 * np.pi, channels)
            image += np.cos(2 * np.pi * (fy * y + fx * x)[..., np.newaxis] + phases)
        # Edges, as at a skull.
        radius = np.hypot(y - height / 2, x - width / 2)[..., np.newaxis]
        image += 3 * (radius < 0.35 * min(height, width))
        image = (image - image.min()) / (image.max() - image.min())
        if np.issubdtype(np.dtype(dtype), np.integer):
            image = np.rint(image * np.iinfo(dtype).max)
        return image.astype(dtype)

    return make


@pytest.fixture(scope="session")
def image_root(tmp_path_factory, smooth_image):
    """A folder of 8 patients with 3 grey 8-bit slices of 32x32 each."""
    from keras_mrisr.data import write_image

    root = tmp_path_factory.mktemp("images")
    for patient in range(8):
        (root / f"patient{patient}").mkdir()
        for index in range(3):
            image = smooth_image(32, 32, seed=10 * patient + index)
            write_image(root / f"patient{patient}" / f"{index}.png", image)
    return root


@pytest.fixture(scope="session")
def centroid():
    """A function (image (H, W), scale) -> (y, x) centre of mass in units of pixels `scale` times smaller."""

    def measure(image, scale=1.0):
        image = np.asarray(image, "float64")
        total = image.sum()
        places = [(np.arange(size) + 0.5) * scale - 0.5 for size in image.shape]
        return float((image.sum(axis=1) @ places[0]) / total), float((image.sum(axis=0) @ places[1]) / total)

    return measure


@pytest.fixture(scope="session")
def lgg_root(tmp_path_factory, smooth_image):
    """A tree like kaggle_3m: 7 patients of two sites with 3 RGB slices of 32x32 and their masks each."""
    from keras_mrisr.data import write_image

    root = tmp_path_factory.mktemp("lgg") / "kaggle_3m"
    for number in range(7):
        patient = f"TCGA_{('CS', 'DU')[number % 2]}_{4000 + number}_20000101"
        for index in range(1, 4):
            image = smooth_image(32, 32, channels=3, seed=10 * number + index)
            mask = np.zeros((32, 32, 1), "uint8")
            mask[10:20, 12:18] = 255 * (index == 2)
            write_image(root / patient / f"{patient}_{index}.tif", image)
            write_image(root / patient / f"{patient}_{index}_mask.tif", mask)
    return root


@pytest.fixture(scope="session")
def save_model():
    """A function (folder, scale, channels, split) that saves an untrained generator as a model directory."""

    def save(folder, scale=2, channels=1, split=None):
        import keras

        from keras_mrisr.degrade import get_degradation
        from keras_mrisr.models import build_generator
        from keras_mrisr.models.storage import ModelInfo, save_trained

        keras.utils.set_random_seed(0)
        generator = {"name": "edsr", "blocks": 1, "filters": 8}
        info = ModelInfo(
            scale=scale,
            channels=channels,
            generator=generator,
            degradation=get_degradation("bicubic", scale).to_dict(),
            data={"split": split.to_dict()} if split else {},
        )
        model = build_generator(scale=scale, channels=channels, **generator)
        save_trained(folder, model, info, "A card.\n")
        return folder

    return save


@pytest.fixture(scope="session")
def models(tmp_path_factory, save_model):
    """Untrained model directories: {"grey": x2 of 1 channel, "rgb": x2 of 3, "x4": of 1 channel}."""
    root = tmp_path_factory.mktemp("models")
    kinds = {"grey": (2, 1), "rgb": (2, 3), "x4": (4, 1)}
    return {name: save_model(root / name, *kind) for name, kind in kinds.items()}


@pytest.fixture(autouse=True)
def _quiet_after_commands():
    """Takes back the logging that a command starts in this process."""
    yield
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _LogHandler)]
    logging.getLogger("keras_mrisr").setLevel(logging.NOTSET)


@pytest.fixture
def mrisr(capfd, monkeypatch):
    """A function that runs the command with some words in this process -> (exit code, stdout, stderr).

    Without the warning of results that don't degrade to the image again, as those of untrained models.
    """
    monkeypatch.setattr("keras_mrisr.inference.degradation_check.LEAST", np.inf)

    def run(*words):
        from keras_mrisr.cli import main

        capfd.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        return code, *capfd.readouterr()

    return run


@pytest.fixture(scope="session")
def listing():
    """A function (folder) -> {relative path: contents of a file, None for a folder} of all in it."""

    def look(folder):
        return {
            path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")
        }

    return look


@pytest.fixture(scope="session")
def tiny_run(lgg_root, tmp_path_factory):
    """A run on the LGG-like tree, and its evaluation."""
    from keras_mrisr.cli import main

    run = tmp_path_factory.mktemp("runs") / "tiny"
    words = [
        "train", "--data", lgg_root, "--out", run, "--epochs", 1, "--batch-size", 2, "--patch-size", 16,
        "--generator", "edsr", "--set", "generator.blocks=1", "--set", "generator.filters=8",
        "--set", "training.steps_per_epoch=2", "--set", "training.validation_slices=2",
    ]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    words = ["evaluate", "--model", run, "--data", lgg_root, "--part", "held-out", "--out", run / "scores"]
    assert main([str(word) for word in words]) == 0
    return run


@pytest.fixture(scope="session")
def packed_models(tiny_run, models, tmp_path_factory):
    """A folder of models: "tiny" packed from `tiny_run`, "grey" of 1 channel, and "a-gan", all x2."""
    import json

    from keras_mrisr.packing import pack_model

    folder = tmp_path_factory.mktemp("pretrained")
    domain = {"lr_size": (20, 40), "lr_spacing": (1.5, 2.0)}
    notes = ["## Known failures\n\nIt is tiny.\n"]
    pack_model(
        tiny_run, folder / "tiny", [tiny_run / "scores"], licence="CC BY-NC-SA 4.0", notes=notes, **domain
    )
    shutil.copytree(models["grey"], folder / "grey")
    shutil.copytree(folder / "tiny", folder / "a-gan")
    path = folder / "a-gan/model.json"
    values = json.loads(path.read_text())
    values["training"]["adversarial"] = {"kind": "bce"}
    path.write_text(json.dumps(values))
    return folder


@pytest.fixture(scope="session")
def thick_model(tmp_path_factory):
    """The directory of an untrained model for thick slices, which interpolates as Keys' cubic does."""
    import keras

    from keras_mrisr.model_info import ThroughPlaneInfo
    from keras_mrisr.models.storage import save_trained
    from keras_mrisr.models.through_plane import through_plane

    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("through-plane") / "thick"
    options = {"blocks": 1, "filters": 8, "tail": 4}
    info = ThroughPlaneInfo("through-plane", options, [1.5, 8], [0.5, 1.5])
    save_trained(folder, through_plane(**options), info, "The card of thick.\n")
    return folder


@pytest.fixture
def eager(monkeypatch):
    """Training without tracing graphs, which takes more time than the steps of tiny networks.

    For what is about the run rather than its steps: the runs that a session shares have graphs.
    """
    from keras_mrisr.training import recipe, through_plane

    def eagerly(make):
        def compiled(*arguments):
            model = make(*arguments)
            model.run_eagerly = True
            return model

        return compiled

    builders = {
        recipe: ("compiled_generator", "compiled_srgan"),
        through_plane: ("compiled_through_plane", "compiled_through_plane_gan"),
    }
    for module, names in builders.items():
        for name in names:
            monkeypatch.setattr(module, name, eagerly(getattr(module, name)))


@pytest.fixture
def without_pictures(monkeypatch):
    """Runs of this test draw no `curves.png` and `samples.png`: that takes more time than their steps.

    Those that a module or a session shares are begun before this, and do.
    """
    monkeypatch.setattr("keras_mrisr.training.record.Record._write_pictures", lambda self: None)


@pytest.fixture(scope="session")
def bundled(tmp_path_factory):
    """A folder of the bundled models, but for their size: one block of eight filters, random weights."""
    import json

    from keras_mrisr import pretrained
    from keras_mrisr.models import build_generator
    from keras_mrisr.models.through_plane import through_plane

    folder = tmp_path_factory.mktemp("bundled")
    for one in pretrained.pretrained_models():
        shutil.copytree(one.folder, folder / one.name, ignore=shutil.ignore_patterns("*.keras", "*.onnx"))
        text = json.loads((one.folder / "model.json").read_text())
        text["generator"] |= {"name": "edsr", "blocks": 1, "filters": 8}
        (folder / one.name / "model.json").write_text(json.dumps(text))
        if text.get("task") == "through-plane":
            model = through_plane(**text["generator"])
        else:
            model = build_generator(scale=text["scale"], channels=text["channels"], **text["generator"])
        model.save(folder / one.name / "generator.keras")
    return folder


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium, which draws WebGL without a graphics card."""
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip("no Chromium is installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--disable-dev-shm-usage",
        "--window-size=1280,1000",
        "--force-prefers-reduced-motion",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Next to Debian's chromium lies its own driver; without one Selenium would try to download it.
    driver_path = shutil.which("chromedriver")
    if driver_path is None:
        pytest.skip("no chromedriver is installed")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    yield driver
    driver.quit()
