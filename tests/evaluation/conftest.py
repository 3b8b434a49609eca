"""Stand-ins for trained models and data sets, for tests that need many of them."""

import numpy as np
import pytest
from PIL import Image

from keras_mrisr.data import Split, write_image
from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.models.storage import ModelInfo

PATIENTS = "abcdefghij"


class Upscaler:
    """Stands in for a SuperResolver: sharpens a Lanczos interpolation by some amount."""

    def __init__(self, amount, scale, channels, split, degradation, neighbours):
        self.amount, self.scale = amount, scale
        self.given = []
        self.info = ModelInfo(
            scale=scale,
            channels=channels,
            generator={},
            degradation=get_degradation(degradation, scale).to_dict(),
            data={"split": split.to_dict()},
            neighbours=neighbours,
        )

    def __call__(self, lr, **_):
        self.given.append(lr)
        channels = self.info.channels
        first = (lr.shape[-1] - channels) // 2
        large = [interpolate(one[..., first : first + channels], self.scale, "lanczos") for one in lr]
        soft = [np.asarray(interpolate(one[::2, ::2], 2, "bicubic"), float) for one in large]
        sharp = [a + self.amount * (a - b) for a, b in zip(large, soft, strict=True)]
        return np.clip(np.rint(sharp), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def upscaler():
    """A function (amount, ...) -> an object like a SuperResolver, whose split tests all patients but a."""

    def make(amount=0.2, scale=2, channels=3, test=PATIENTS[2:], degradation="bicubic", neighbours=0):
        split = Split(train=("a",), val=("b",), test=tuple(test))
        return Upscaler(amount, scale, channels, split, degradation, neighbours)

    return make


@pytest.fixture(scope="session")
def study(tmp_path_factory, smooth_image):
    """A tree of 10 patients of sites X and Y with 3 RGB slices of 48x40 each; the second has a tumour."""
    root = tmp_path_factory.mktemp("study") / "data"
    for number, patient in enumerate(PATIENTS):
        for index in range(3):
            name = root / "XY"[number % 2] / patient / f"{index}.png"
            write_image(name, smooth_image(48, 40, 3, seed=10 * number + index))
            mask = np.zeros((48, 40), "uint8")
            mask[12:24, 10:26] = 255 * (index == 1)
            Image.fromarray(mask).save(name.with_name(f"{index}_mask.png"))
    return root


PATTERN = r"(?P<site>[XY])/(?P<patient>.)/"


@pytest.fixture(scope="session")
def pattern():
    """The patient pattern of `study`."""
    return PATTERN
