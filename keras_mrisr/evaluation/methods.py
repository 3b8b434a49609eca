"""What is compared: models, plain interpolators, and images that other programs made."""

import abc
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from keras_mrisr.checks import check, check_perception, known
from keras_mrisr.data import read_image
from keras_mrisr.data.images import IMAGE_SUFFIXES
from keras_mrisr.data.slices import SliceDataset, SliceRecord
from keras_mrisr.errors import DataError, ModelError
from keras_mrisr.evaluation.protocol import pillow_version
from keras_mrisr.evaluation.slices import SliceReader, to_8bit
from keras_mrisr.factors import scale_of
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.pretrained import find_model
from keras_mrisr.types import Model as KerasModel, PathLike


class Method(Protocol):
    """Gives an image of the size of HR for every slice.

    Attributes:
        name: What it is called in tables.
        source: Where its images come from.
    """

    name: str
    source: str

    def __call__(self, record: SliceRecord, reader: Any) -> np.ndarray:
        """The image, uint8 (H, W, C), of a slice that a `SliceReader` reads."""
        ...


class Upscaler(Protocol):
    """What can stand for a trained model, such as a `SuperResolver`.

    It maps a uint8 batch (N, h, w, C) to a uint8 batch enlarged by the scale of its `info`.
    """

    info: ModelInfo

    def __call__(
        self, image: np.ndarray, ensemble: bool = False, consistency: bool = False
    ) -> np.ndarray: ...


class SliceMethod(abc.ABC):
    """A `Method` that makes SR of LR, slice by slice.

    Attributes:
        neighbours: Adjacent slices on each side that it also takes.
    """

    name: str
    source: str
    neighbours: int = 0

    @abc.abstractmethod
    def upscale(self, lr: np.ndarray) -> np.ndarray:
        """uint8 (h, w, (2 * neighbours + 1) * C) to (H, W, C)."""

    def __call__(self, record: SliceRecord, reader: Any) -> np.ndarray:
        """The upscaled slice, uint8 (H, W, C)."""
        return self.upscale(reader.lr(record, self.neighbours))


class Interpolator(SliceMethod):
    """Upscales LR by a plain interpolation.

    Args:
        name: One of `degrade.interpolate.METHODS`.
        scale: Integer factor.
    """

    def __init__(self, name: str, scale: int) -> None:
        from keras_mrisr.degrade.interpolate import METHODS

        known("interpolation", name, METHODS)
        self.name, self.scale, self.source = name, scale, pillow_version()

    def upscale(self, lr: np.ndarray) -> np.ndarray:
        from keras_mrisr.degrade import interpolate

        return interpolate(lr, self.scale, self.name)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model at work.

    Attributes:
        upscaler: The model as an `Upscaler`; for models of volumes a `SuperResolver`.
        source: Where it comes from.
        folder: Its folder, or None.
    """

    upscaler: Any
    source: str
    folder: pathlib.Path | None = None

    @classmethod
    def load(cls, model: PathLike | KerasModel | Upscaler, perception: float = 0.0) -> "Trained":
        """Loads a path of a model directory, a name from `mrisr models`, or a Keras model.

        Anything else is taken for an `Upscaler`. Over 0, `perception` is for model directories with a GAN
        end.
        """
        if check_perception(perception) and not isinstance(model, str | os.PathLike):
            raise ModelError("`perception` is for model folders with a GAN end: leave it out.")
        if not isinstance(model, str | os.PathLike) and hasattr(model, "info"):
            return cls(model, type(model).__name__)
        from keras_mrisr.inference import SuperResolver
        from keras_mrisr.models.storage import load_trained

        if isinstance(model, str | os.PathLike):
            upscaler, path = SuperResolver.load(model, perception=perception), find_model(model)
            folder = path.parent if path.suffix == ".keras" else path
            found = cls(upscaler, f"{model}, perception {perception:g}" if perception else str(model), folder)
        elif hasattr(model, "input_shape"):
            network, info = load_trained(model)
            upscaler = SuperResolver(network, info)
            found = cls(upscaler, network.name)
        else:
            raise ModelError(
                f"Expected the path or name of a model, or a Keras model. Received: {type(model).__name__}"
            )
        upscaler.warns = False  # How LR was made is known here, and the scores say the rest.
        return found


class Model(SliceMethod):
    """Upscales LR by a trained generator of slices.

    Args:
        name: What it is called in tables.
        model: A `Trained`, or what `Trained.load` takes.
        ensemble: Average over flips and quarter turns.
        consistency: Make the result consistent with LR (see `inference.consistency`).

    Raises:
        ModelError: Nothing there, broken, or a model of volumes (for those there is `StackModel`).
    """

    dimensions = 2

    def __init__(
        self,
        name: str,
        model: Trained | PathLike | KerasModel | Upscaler,
        ensemble: bool = False,
        consistency: bool = False,
    ) -> None:
        trained = model if isinstance(model, Trained) else Trained.load(model)
        self.name, self.source, self.folder = name, trained.source, trained.folder
        self.model, self.info = trained.upscaler, trained.upscaler.info
        if self.info.dimensions != self.dimensions:
            raise ModelError(
                f"{self.source} is a model of volumes ({self.info.scale_text}), and slices are compared "
                "here: use mrisr evaluate."
            )
        self.scale = scale_of(self.info.factors)
        self.neighbours = self.info.neighbours
        self.options = {
            option: True
            for option, wanted in (("ensemble", ensemble), ("consistency", consistency))
            if wanted
        }
        if consistency and trained.folder is not None:  # Refused now, if at all.
            self.model.degradation.axis_matrix(16 * self.info.scale)

    def upscale(self, lr: np.ndarray) -> np.ndarray:
        sr = np.asarray(self.model(lr[np.newaxis], **self.options))
        channels = self.info.image_channels or lr.shape[-1]
        expected = (1, lr.shape[0] * self.info.scale, lr.shape[1] * self.info.scale, channels)
        if sr.dtype != np.uint8 or sr.shape != expected:
            raise ValueError(f"the model must give uint8 {expected}. Received: {sr.dtype} {sr.shape}")
        return sr[0]


def on_the_dial(
    models: Mapping[str, Any], perception: float | Sequence[float]
) -> Iterator[tuple[str, Any, float]]:
    """(name, model, perception) of everything that is scored as a model.

    Args:
        models: Dict name -> model.
        perception: One place of the dial for all models, or several: then models with a GAN end are scored
            at each of them, and the others at 0.

    Raises:
        ConfigError: A place is out of range, or there is none.
        ModelError: Places over 0, and no model with a GAN end.
    """
    if not isinstance(perception, Sequence):
        yield from ((name, one, perception) for name, one in models.items())
        return
    from keras_mrisr.models.storage import has_gan_end

    values = list(dict.fromkeys(map(check_perception, perception)))
    check(bool(values), "`perception`", values, "one or more numbers from 0 to 1")
    ends = {name: has_gan_end(one) for name, one in models.items()}
    if any(values) and not any(ends.values()):
        raise ModelError(f"`perception` is for models with a GAN end: {' and '.join(models)} have none.")
    for name, one in models.items():
        if ends[name]:
            yield from ((f"{name}, perception {value:g}", one, value) for value in values)
        else:
            yield name, one, 0.0


class Predictions:
    """Images that another program made, under the names of the HR slices.

    Args:
        name: What they are called in tables.
        folder: Folder of the images: for each slice `ROOT/a/b.tif` an `a/b` of any image format. Masks
            (`*_mask.*`) are ignored.
        dataset: The data.

    Raises:
        DataError: No such folder, two files for one slice, or a file that belongs to no slice.
    """

    def __init__(self, name: str, folder: PathLike, dataset: SliceDataset) -> None:
        self.name, self.source = name, f"predictions in {folder}"
        self.root = dataset.root
        self.folder = pathlib.Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"{folder} is not a folder. Give the folder of the predictions {name}.")
        self.files: dict[str, pathlib.Path] = {}
        for path in filter(self._is_image, sorted(self.folder.rglob("*"))):
            key = path.relative_to(self.folder).with_suffix("").as_posix()
            if key in self.files:
                raise DataError(f"{self.files[key]} and {path} are of one slice. Remove one of them.")
            self.files[key] = path
        extra = sorted(set(self.files) - {self._key(record) for record in dataset.slices})
        if extra:
            raise DataError(
                f"{self.files[extra[0]]} belongs to no slice of {self.root} ({len(extra)} such "
                f"file{'s' if len(extra) > 1 else ''}): predictions have the names of the HR slices "
                "relative to it. Remove what is no prediction, or give the same root."
            )

    def _is_image(self, path: pathlib.Path) -> bool:
        hidden = any(part.startswith(".") for part in path.relative_to(self.folder).parts)
        return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and not path.stem.endswith("_mask")

    def check(self, records: list[SliceRecord], reader: SliceReader) -> None:
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

    def __call__(self, record: SliceRecord, reader: SliceReader) -> np.ndarray:
        """The prediction, uint8 (H, W, C)."""
        path = self.files[self._key(record)]
        image, original, hr = read_image(path), reader.original(record), reader.hr(record)
        if image.shape not in (hr.shape, original.shape):
            differ = "channels" if image.shape[:2] in (hr.shape[:2], original.shape[:2]) else "size"
            raise DataError(
                f"{path} is {_shape(image)}, its original {record.path} {_shape(original)} (height x width "
                f"x channels): predictions must have the {differ} of the HR slices. Make it again."
            )
        if (image.dtype == np.uint8) != (original.dtype == np.uint8):
            raise DataError(
                f"{path} holds {image.dtype} pixels, its original {record.path} {original.dtype}: save the "
                "predictions in the intensities and the depth of the HR slices."
            )
        if _other_range(image, original):
            raise DataError(
                f"{path} has values up to {image.max():.4g} ({image.dtype}), its original {record.path} up "
                f"to {original.max():.4g} ({original.dtype}): save the predictions in the original's range."
            )
        return to_8bit(image, original)[: hr.shape[0], : hr.shape[1]]

    def _key(self, record: SliceRecord) -> str:
        return record.path.relative_to(self.root).with_suffix("").as_posix()


def _other_range(image: np.ndarray, original: np.ndarray) -> bool:
    """Whether one is in [0, 1] and the other one in grey levels."""
    differ = (image.dtype.kind == "f") != (original.dtype.kind == "f")
    return differ and (_unit(image) or _unit(original)) and bool(max(image.max(), original.max()) > 50)


def _unit(image: np.ndarray) -> bool:
    """Whether the values are those of an image that was brought to [0, 1], and not all black."""
    return image.dtype.kind == "f" and 0 < float(image.max()) <= 1.5


def _shape(image: np.ndarray) -> str:
    return "x".join(map(str, image.shape))
