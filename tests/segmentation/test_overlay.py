import numpy as np
import pytest

from keras_mrisr.data import read_image
from keras_mrisr.segmentation.overlay import OverlayCase, overlay_figure


def outline_pixels(path, colour):
    return int((np.abs(read_image(path).astype(int) - colour).sum(axis=-1) < 60).sum())


def test_figure_has_both_outlines(tmp_path, smooth_image):
    image = smooth_image(48, 40, 3)
    truth, prediction = np.zeros((2, 48, 40), bool)
    truth[10:30, 10:30] = True
    prediction[15:35, 5:25] = True
    columns = {"HR": (image, prediction, 0.7), "y$_$": (image, np.zeros_like(truth), 0.0)}
    overlay_figure([OverlayCase("p$_$ · slice 3", truth, columns)] * 2, tmp_path / "overlay.png")
    figure = read_image(tmp_path / "overlay.png")
    assert figure.shape[0] > 900
    blue = outline_pixels(tmp_path / "overlay.png", (0x58, 0xA6, 0xFF))
    orange = outline_pixels(tmp_path / "overlay.png", (0xFF, 0xB4, 0x54))
    assert blue > orange > 1000  # Two true outlines for each predicted one, partly under it.


def test_no_cases(tmp_path):
    with pytest.raises(ValueError, match="at least one case"):
        overlay_figure([], tmp_path / "overlay.png")
