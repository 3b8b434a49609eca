import numpy as np
import pytest
from PIL import Image

from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.errors import MrisrError
from keras_mrisr.evaluation import Case, comparison_figure, tissue_mask
from keras_mrisr.evaluation.views import detail_box


def make_case(channels, height=48, width=40, label="case"):
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 200, (height, width, channels), dtype="uint8")
    lr = get_degradation("bicubic", 2).degrade(hr)
    images = {"bicubic": interpolate(lr, 2), "SR": interpolate(lr, 2, "lanczos")}
    return Case(label, hr, lr, images, tissue_mask(hr / 255), channels // 2, "FLAIR")


@pytest.mark.parametrize("channels,rgb", [(1, False), (3, False), (3, True), (1, True)])
def test_draws_a_picture(tmp_path, channels, rgb):
    path = tmp_path / "new" / "figure.png"
    comparison_figure([make_case(channels)], path, rgb=rgb, title="x2", outline=True)
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[1] > 1500
    assert (picture[0, 0] < 40).all()  # A dark background.
    colours = np.ptp(picture[:, : picture.shape[1] // 2].astype(int), axis=-1)
    assert (np.mean(colours > 80) > 0.05) == (rgb and channels == 3)


def test_cases_of_different_sizes(tmp_path):
    comparison_figure([make_case(1), make_case(1, 24, 64)], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").is_file()


def test_equal_images_and_empty_slices(tmp_path):
    black = np.zeros((32, 32, 1), "uint8")
    comparison_figure([Case("empty", black, black[::2, ::2], {"bicubic": black})], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").is_file()


def test_names_are_no_formulas(tmp_path):
    case = make_case(1, label="p$_$")
    case.images["y$_$"] = case.images.pop("SR")
    comparison_figure([case], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").is_file()


def test_without_cases(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        comparison_figure([], tmp_path / "figure.png")


def test_target_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MrisrError):
        comparison_figure([make_case(1)], tmp_path / "file" / "figure.png")


def test_detail_is_found_and_inside_the_image():
    hr = np.full((60, 80, 1), 100, "uint8")
    hr[30:36:2, 50:58] = 200
    top, left, size = detail_box(hr)
    assert size == 12
    assert top <= 32 <= top + size and left <= 54 <= left + size
    for corner in (np.s_[:5, :5], np.s_[-5:, -5:]):
        hr = np.zeros((60, 80, 1), "uint8")
        hr[corner] = 255
        top, left, size = detail_box(hr)
        assert top >= 0 and left >= 0 and top + size <= 60 and left + size <= 80


@pytest.mark.parametrize("shape", [(2, 60), (1, 1), (60, 3)])
def test_detail_of_a_narrow_image_lies_inside(shape):
    top, left, size = detail_box(np.random.default_rng(0).integers(0, 256, (*shape, 1), "uint8"))
    assert top >= 0 and left >= 0 and top + size <= shape[0] and left + size <= shape[1]
