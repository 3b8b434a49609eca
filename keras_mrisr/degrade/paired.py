"""LR images that were measured beside the HR ones, in files of the same names."""

import pathlib
from typing import Any

import numpy as np

from keras_mrisr.data.images import read_image
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.types import Tensor


class Paired(Degradation):
    """What makes LR of HR is known by examples alone: by pairs of images that are aligned.

    Args:
        scale: Integer factor between the sizes of a pair.
        lr_root: Folder of the LR images, each under the name that its HR image has in the folder of those.
            It is no part of `get_config`: a trained model does not depend on it.
        name: What the degradation is called in messages and in `model.json`.
    """

    scale: int
    fixed = False
    measured = True

    def __init__(self, scale: int, lr_root: str | None = None, name: str = "paired") -> None:
        self.scale = scale
        self.lr_root = None if lr_root is None else pathlib.Path(lr_root)
        self.name = name

    def get_config(self) -> dict[str, Any]:
        return {}

    def __call__(self, hr: Tensor) -> Tensor:
        """Raises ConfigError: it is not known how other images are degraded."""
        raise ConfigError(
            f"The degradation {self.name!r} is known by pairs of images alone: no other can be degraded."
        )

    def lr_of(self, hr: np.ndarray, name: str) -> np.ndarray:
        """The measured LR image that belongs to an HR image.

        Args:
            hr: The HR image (H, W, C), cropped to a multiple of the scale.
            name: Its path relative to the folder of the HR images.

        Raises:
            ConfigError: There is no folder of LR images.
            DataError: The image is missing, cannot be read, or is not of 1 / scale of the size.
        """
        if self.lr_root is None:
            raise ConfigError(
                f"The degradation {self.name!r} needs the folder of LR images: set degradation.lr_root in a "
                "config, or evaluate with the degradation paired:lr_root=FOLDER."
            )
        path = self.lr_root / name
        if not path.is_file():
            raise DataError(f"{path} is missing: every HR image needs its LR image under the same name.")
        lr = read_image(path)
        wanted = (hr.shape[0] // self.scale, hr.shape[1] // self.scale, hr.shape[2])
        if lr.shape != wanted:
            raise DataError(
                f"{path} has {_text(lr)}, and 1/{self.scale} of its HR image with {_text(hr)} would have "
                f"{wanted[0]}x{wanted[1]} pixels. Set `scale` to the factor of the pairs, or mend them."
            )
        return lr


def _text(image: np.ndarray) -> str:
    return f"{image.shape[0]}x{image.shape[1]} pixels and {image.shape[2]} channel(s)"
