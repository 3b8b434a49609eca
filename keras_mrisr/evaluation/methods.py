"""What is compared: models, plain interpolators, and images that other programs made."""

import os
import pathlib

import numpy as np

from keras_mrisr.data import read_image
from keras_mrisr.data.images import IMAGE_SUFFIXES
from keras_mrisr.errors import DataError
from keras_mrisr.evaluation.slices import to_8bit
from keras_mrisr.factors import scale_of
from keras_mrisr.pretrained import find_model


class Interpolator:
    """Upscales LR by a plain interpolation.

    Args:
        name: One of `degrade.interpolate.METHODS`.
        scale: Integer factor.
    """

    def __init__(self, name, scale):
        from keras_mrisr.degrade.interpolate import METHODS

        if name not in METHODS:
            raise DataError(f"Unknown interpolation {name!r}. Known: {', '.join(METHODS)}.")
        self.name, self.scale = name, scale

    def __call__(self, record, reader):
        """The upscaled slice, uint8 (H, W, C)."""
        from keras_mrisr.degrade import interpolate

        return interpolate(reader.lr(record), self.scale, self.name)


class Model:
    """Upscales LR by a trained generator.

    Args:
        name: What it is called in tables.
        model: Path of a model directory, a name from `mrisr models`, or an object with `scale`,
            `channels`, `info` (a `ModelInfo`) that maps a uint8 batch (N, h, w, C) to a uint8 batch scaled by
            `scale`.
        ensemble: Average over flips and quarter turns.
        consistency: Make the result consistent with LR (see `inference.consistency`).

    Raises:
        DataError: Nothing there, broken, or a model of volumes (for those there is `StackModel`).
    """

    of_stacks = False

    def __init__(self, name, model, ensemble=False, consistency=False):
        is_path = isinstance(model, (str, os.PathLike))
        self.name = name
        self.source = str(model) if is_path else type(model).__name__
        self.folder = _folder(find_model(model)) if is_path else None
        if is_path:
            from keras_mrisr.inference import SuperResolver

            model = SuperResolver.load(model)
            model.warns = False  # How LR was made is known here, and the scores say the rest.
        self.model, self.info = model, model.info
        if self.info.dimensions == 3 and not self.of_stacks:
            raise DataError(
                f"{self.source} is a model of volumes ({self.info.scale_text}), and slices are compared "
                "here: use mrisr evaluate."
            )
        self.scale = scale_of(self.info.factors)
        options = {"ensemble": ensemble, "consistency": consistency}
        self.options = {key: True for key, wanted in options.items() if wanted}
        if is_path and consistency:  # Refused now, if at all.
            model.degradation.axis_matrix(16 * model.scale)

    def __call__(self, record, reader):
        """The upscaled slice, uint8 (H, W, C)."""
        lr = reader.lr(record, self.info.neighbours)[np.newaxis]
        sr = np.asarray(self.model(lr, **self.options))
        channels = self.info.image_channels or lr.shape[-1]
        expected = (1, lr.shape[1] * self.scale, lr.shape[2] * self.scale, channels)
        if sr.dtype != np.uint8 or sr.shape != expected:
            raise ValueError(f"the model must give uint8 {expected}. Received: {sr.dtype} {sr.shape}")
        return sr[0]


class Predictions:
    """Images that another program made, under the names of the HR slices.

    Args:
        name: What they are called in tables.
        folder: Folder of the images: for each slice `ROOT/a/b.tif` an `a/b` of any image format. Masks
            (`*_mask.*`) are ignored.
        root: Folder of the data.

    Raises:
        DataError: No such folder, two files for one slice, or a file that belongs to no slice.
    """

    def __init__(self, name, folder, dataset):
        self.name, self.source = name, f"predictions in {folder}"
        self.root = dataset.root
        self.folder = folder = pathlib.Path(folder)
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder. Give the folder of the predictions {name}.")
        self.files = {}
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.suffix.lower() not in IMAGE_SUFFIXES or hidden or path.stem.endswith("_mask"):
                continue
            key = path.relative_to(folder).with_suffix("").as_posix()
            if key in self.files:
                raise DataError(f"{self.files[key]} and {path} are of one slice. Remove one of them.")
            self.files[key] = path
        known = {self._key(record) for record in dataset.slices}
        extra = sorted(set(self.files) - known)
        if extra:
            raise DataError(
                f"{self.files[extra[0]]} belongs to no slice of {self.root} ({len(extra)} such "
                f"file{'s' if len(extra) > 1 else ''}): predictions have the names of the HR slices "
                "relative to it. Remove what is no prediction, or give the same root."
            )

    def check(self, records, reader):
        """Raises DataError unless every one of the records has a prediction that fits.

        Before the long work begins, and not in the middle of it.
        """
        missing = [record for record in records if self._key(record) not in self.files]
        if missing:
            raise DataError(
                f"{self.folder} lacks {len(missing)} of {len(records)} predictions, such as "
                f"{self._key(missing[0])} (.png, .tif or .jpg). Make them, or leave {self.name} out."
            )
        for record in records:
            self(record, reader)

    def __call__(self, record, reader):
        """The prediction, uint8 (H, W, C)."""
        path = self.files[self._key(record)]
        image, original, hr = read_image(path), reader.original(record), reader.hr(record)
        if image.shape not in (hr.shape, original.shape):
            raise DataError(
                f"{path} is {_shape(image)}, its original {record.path} {_shape(original)} (height x width "
                "x channels): predictions must have the size of the HR slices. Make it again."
            )
        if (image.dtype == np.uint8) != (original.dtype == np.uint8):
            raise DataError(
                f"{path} holds {image.dtype} pixels, its original {record.path} {original.dtype}: save the "
                "predictions in the intensities and the depth of the HR slices."
            )
        differ = (image.dtype.kind == "f") != (original.dtype.kind == "f")
        if differ and (_unit(image) or _unit(original)) and max(image.max(), original.max()) > 50:
            raise DataError(
                f"{path} has values up to {image.max():.4g} ({image.dtype}), its original {record.path} up "
                f"to {original.max():.4g} ({original.dtype}): save the predictions in the original's range."
            )
        return to_8bit(image, original)[: hr.shape[0], : hr.shape[1]]

    def _key(self, record):
        return record.path.relative_to(self.root).with_suffix("").as_posix()


def _folder(path):
    return path.parent if path.suffix == ".keras" else path


def _unit(image):
    """Whether the values are those of an image that was brought to [0, 1], and not all black."""
    return image.dtype.kind == "f" and 0 < image.max() <= 1.5


def _shape(image):
    return "x".join(map(str, image.shape))
