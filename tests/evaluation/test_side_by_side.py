import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from keras_mrisr.data import read_image, write_image
from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.errors import MrisrError
from keras_mrisr.evaluation import compare_image


@pytest.fixture
def image(tmp_path, smooth_image):
    path = tmp_path / "slice.png"
    write_image(path, smooth_image(49, 40, 3))
    return path


def picture(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_figure_with_numbers(image, tmp_path, upscaler):
    out = tmp_path / "new/figure.png"
    models = {"A": upscaler(0.0), "B": upscaler(0.5)}
    numbers = compare_image(image, models, out, methods=("nearest", "bicubic"), dpi=100)
    assert list(numbers) == ["nearest", "bicubic", "A", "B"]
    hr = read_image(image)[:48]
    sr = interpolate(get_degradation("bicubic", 2).degrade(hr), 2, "nearest")
    assert numbers["nearest"][0] == pytest.approx(peak_signal_noise_ratio(hr, sr, data_range=255), abs=1e-3)
    assert numbers["A"] != numbers["B"]
    drawn = picture(out)
    # LR, four methods and the original, each as wide as dpi says; white paper, and colours in it.
    assert drawn.shape[1] == pytest.approx(100 * (6 * 1.81 + 0.06), abs=2)
    assert (drawn[0] == 255).all() and np.ptp(drawn, axis=-1).max() > 60


@pytest.mark.parametrize("name", ["a.pdf", "a.svg", "a.tif"])
def test_formats_one_channel_and_region(image, tmp_path, upscaler, name):
    out = tmp_path / name
    compare_image(image, {"A": upscaler()}, out, region=(4, 6, 20, 10), channel=1, dpi=50)
    assert out.stat().st_size > 1000
    if name == "a.tif":  # Nothing but the frames has a colour.
        assert np.mean(np.ptp(picture(out), axis=-1) > 40) < 0.05


def test_true_lr_has_no_original_and_no_numbers(image, tmp_path, upscaler):
    model = upscaler(neighbours=1)
    out = tmp_path / "a.png"
    assert compare_image(image, {"A": model}, out, true_lr=True, dpi=100) == {}
    np.testing.assert_array_equal(model.given[0][0, ..., 3:6], read_image(image))
    assert picture(out).shape[1] == pytest.approx(100 * (3 * 1.81 + 0.06), abs=2)


def test_a_name_is_no_formula(image, tmp_path, upscaler):
    assert "y$_$" in compare_image(image, {"y$_$": upscaler()}, tmp_path / "a.png", dpi=50)


def test_a_patient_that_a_model_saw_is_named(image, tmp_path, upscaler, caplog):
    models = {"A": upscaler(), "B": upscaler()}
    compare_image(image, models, tmp_path / "new.png", dpi=100)
    assert not caplog.text
    seen = tmp_path / "a/slice.png"  # Patient a trained them, b chose their checkpoints.
    write_image(seen, read_image(image))
    compare_image(seen, models, tmp_path / "seen.png", dpi=100)
    assert f"{seen}: Patient a trained A, B. Show a patient that no model has seen." in caplog.text
    assert picture(tmp_path / "seen.png").shape[0] == pytest.approx(
        picture(tmp_path / "new.png").shape[0] + 16, abs=1
    )
    write_image(tmp_path / "b_12.png", read_image(image))
    compare_image(tmp_path / "b_12.png", models, tmp_path / "b.pdf", dpi=100)
    assert "Patient b chose the checkpoint of A, B." in caplog.text


def test_neighbours_come_from_the_folder(image, tmp_path, upscaler, smooth_image, caplog):
    model = upscaler(neighbours=1)
    compare_image(image, {"A": model}, tmp_path / "one.pdf", true_lr=True, dpi=50)
    assert "slice.png has no neighbours of its size and type" in caplog.text
    caplog.clear()
    for number in (2, 9, 10, 11):
        write_image(tmp_path / f"stack/{number}.png", smooth_image(49, 40, 3, seed=number))
    write_image(tmp_path / "stack/9_mask.png", np.zeros((49, 40), "uint8"))
    stack = tmp_path / "stack"
    compare_image(stack / "10.png", {"A": model}, tmp_path / "two.pdf", dpi=50)
    degradation = get_degradation("bicubic", 2)
    lr = [degradation.degrade(read_image(stack / f"{number}.png")[:48]) for number in (9, 10, 11)]
    np.testing.assert_array_equal(model.given[-1][0], np.concatenate(lr, axis=-1))
    assert not caplog.text
    write_image(stack / "11.png", smooth_image(20, 20, 3))
    compare_image(stack / "10.png", {"A": model}, tmp_path / "three.pdf", dpi=50)
    np.testing.assert_array_equal(model.given[-1][0], np.concatenate([lr[1]] * 3, axis=-1))
    assert "10.png has no neighbours" in caplog.text


def test_deep_and_equal_images(tmp_path, upscaler):
    write_image(tmp_path / "deep.tif", np.full((24, 24), 700, "uint16"))
    numbers = compare_image(tmp_path / "deep.tif", {"A": upscaler(channels=1)}, tmp_path / "a.png", dpi=50)
    assert np.isposinf(numbers["bicubic"][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": "a.gif"}, "a.gif is no figure"),
        ({"out": "slice.png"}, "slice.png exists"),
        ({"models": {}}, "at least one `model`"),
        ({"models": {"bicubic": {}}}, "Two methods are called 'bicubic'"),
        ({"models": {"original": {}}}, "Upscaler: the name 'original' is taken"),
        ({"models": {"A": {}, "B": {"scale": 4}}}, "differ in scale"),
        ({"models": {"A": {"channels": 1}}}, "slice.png has 3 channels, but Upscaler takes 1"),
        ({"region": (30, 0, 20, 20)}, r"30,0,20,20 .* inside the 40 x 48 pixels"),
        ({"region": (0, 0, 1, 20)}, "2 pixels or more"),
        ({"channel": 3}, "channel=3"),
        ({"methods": ("linear",)}, "linear"),
        ({"dpi": 5}, "dpi"),
    ],
)
def test_bad_input(image, tmp_path, monkeypatch, upscaler, options, message):
    monkeypatch.chdir(tmp_path)
    models = {name: upscaler(**o) for name, o in options.pop("models", {"A": {}}).items()}
    out = options.pop("out", "figure.png")
    with pytest.raises(MrisrError, match=message) as error:
        compare_image("slice.png", models, out, **options)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["slice.png"]
