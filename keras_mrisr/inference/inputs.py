"""What lies at a path, decided once: an image, a scan, or a folder of images or scans."""

import dataclasses
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from keras_mrisr.data.image_folder import image_files, is_mask, read_image_folder
from keras_mrisr.data.images import IMAGE_SUFFIXES, read_image
from keras_mrisr.data.slices import natural_key
from keras_mrisr.data.volume_folder import mask_files, volume_files
from keras_mrisr.errors import ConfigError, DataError, MrisrError
from keras_mrisr.folders import Choice
from keras_mrisr.inference.image_file import ImageFile, refuse_for_volumes
from keras_mrisr.inference.options import Outcome, UpscaleOptions
from keras_mrisr.inference.scan import Scan
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.volumes.formats import ENDINGS, IN_FOLDERS, format_at

log = logging.getLogger(__name__)
_IMAGE_STARTS = (b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\xff\xd8\xff")
# What of a data set in BIDS is not the scanner's: https://bids-specification.readthedocs.io, "Filesystem
# structure".
_NOT_RAW = ("code", "derivatives", "sourcedata")


class Input(Protocol):
    """One image or scan: how it is read, where its result may go and how that is written.

    `models` is a `SuperResolver` for images, and what `ways.way_for` takes for scans.
    """

    @property
    def path(self) -> pathlib.Path:
        """Where it lies."""

    def check_options(self, options: UpscaleOptions) -> None:
        """Raises DataError for an option that such an input does not have."""

    def place(self, target: pathlib.Path) -> pathlib.Path:
        """The path of the result, where the target may be a folder for it."""

    def outputs(self, target: pathlib.Path, options: UpscaleOptions) -> list[pathlib.Path]:
        """All paths that `upscale` writes."""

    def read(self, models: Any, options: UpscaleOptions) -> Any:
        """Reads it; raises DataError where the model cannot upscale it."""

    def check(self, read: Any, target: pathlib.Path, models: Any, options: UpscaleOptions) -> None:
        """Raises DataError where `upscale` could not write its result."""

    def upscale(
        self,
        read: Any,
        target: pathlib.Path,
        models: Any,
        options: UpscaleOptions,
        progress: Progress | None = None,
    ) -> Outcome:
        """Upscales what was read and writes the result."""


@dataclasses.dataclass(frozen=True)
class Folder:
    """Images, or else scans, in a folder and below.

    Attributes:
        path: The folder.
        inputs: Relative path -> what lies there, in natural order.
    """

    path: pathlib.Path
    inputs: Mapping[pathlib.Path, Input]

    @property
    def holds_images(self) -> bool:
        """Whether these are images; otherwise they are scans."""
        return isinstance(next(iter(self.inputs.values())), ImageFile)

    def check_options(self, options: UpscaleOptions) -> None:
        """Refuses what is for one input alone."""
        if self.holds_images:
            refuse_for_volumes(self.path, options)
        for name in ("series", "uncertainty", "figure", "report"):
            if getattr(options, name) is not None:
                what = "images" if self.holds_images else "NIfTI volumes"
                raise DataError(f"{self.path} is a folder of {what}: give them one by one for `{name}`.")


def input_at(source: PathLike, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Input | Folder:
    """What lies at a path.

    Of a folder with DICOM files in it or below, these are one scan. Of another folder all images are taken
    but for masks (`*_mask.*`), or, where there are none, all volumes but for masks and segmentations. Of a
    data set in BIDS `code/`, `derivatives/` and `sourcedata/` are left out.

    Args:
        source: The path.
        include: Of a folder: take only files that match one of these patterns, see `folders.Choice`.
        exclude: Of a folder: leave out files that match one of these.

    Raises:
        ConfigError: Patterns for what is no folder of files.
        DataError: Nothing is there, or nothing that can be upscaled.
    """
    source = pathlib.Path(source)
    if not source.exists():
        raise DataError(f"{source} does not exist. Give an image or volume, or a folder of images or DICOM.")
    bids = _is_bids(source)
    found = None if bids else format_at(source)
    if found is None and source.is_dir():
        return _folder(source, _NOT_RAW if bids else (), Choice(include, exclude))
    for name, patterns in (("include", include), ("exclude", exclude)):
        if patterns:
            raise ConfigError(f"`{name}` is for a folder of files, and {source} is one input: leave it out.")
    if found is not None:
        return Scan(source, found)
    if source.suffix.lower() in IMAGE_SUFFIXES or _begins_as_image(source):
        return ImageFile(source)
    raise DataError(
        f"{source} is no image ({', '.join(IMAGE_SUFFIXES)}) and no volume ({', '.join(ENDINGS)}, "
        "DICOM) that can be read. Convert it."
    )


def channels_of(found: Input | Folder) -> int | None:
    """By how many channels a model is chosen for an input.

    Returns:
        None for volumes; 1 for grey images, also where these are stored as RGB, and for a folder of images
        with different numbers of channels; otherwise the number of channels. Files of a folder that cannot
        be read don't count.
    """
    inputs = found.inputs.values() if isinstance(found, Folder) else (found,)
    numbers, coloured = set(), False
    for one in inputs:
        if not isinstance(one, ImageFile):
            return None
        try:
            image = read_image(one.path, finite=False)
        except MrisrError:
            if isinstance(found, Folder):
                continue  # It is reported when its turn comes, and stops no other.
            raise
        numbers.add(image.shape[-1])
        grey = np.broadcast_to(image[..., :1], image.shape)
        coloured = coloured or not np.array_equal(image, grey, equal_nan=image.dtype.kind == "f")
    return numbers.pop() if coloured and len(numbers) == 1 else 1


def _folder(source: pathlib.Path, left_out: tuple[str, ...], choice: Choice) -> Folder:
    """The images of a folder, or else its volumes."""
    for name in left_out:
        if (source / name).is_dir():
            log.info("%s is left out: it does not hold raw data", source / name)
    images = [name for name in _without(image_files(source), left_out) if not is_mask(name)]
    volumes = _without(volume_files(source), left_out)
    if not images and not volumes:
        raise DataError(
            f"{source} holds no images ({', '.join(IMAGE_SUFFIXES)}) and no volumes "
            f"({', '.join(IN_FOLDERS)}, DICOM), in it or below. Check the path."
        )
    taken = set(choice.of([*images, *volumes], source))
    volumes = [name for name in volumes if name in taken]
    if taken.intersection(images):
        if volumes:
            log.warning(
                "%s also holds %d volumes, which are left out. Give them alone, by `include`.",
                source, len(volumes),
            )  # fmt: skip
        return Folder(source, _images(source, left_out, taken))
    masks = len(_without(mask_files(source), left_out))
    if masks:
        log.info("%d masks (*_mask, *_seg and *_dseg files) are left out", masks)
    return Folder(source, _scans(source, volumes))


def _scans(source: pathlib.Path, names: list[str]) -> dict[pathlib.Path, Input]:
    """The volumes of a folder, in natural order."""
    found = {pathlib.Path(name): format_at(source / name) for name in sorted(names, key=natural_key)}
    return {name: Scan(source / name, one) for name, one in found.items() if one is not None}


def _images(source: pathlib.Path, left_out: tuple[str, ...], taken: set[str]) -> dict[pathlib.Path, Input]:
    """The images of a folder that are taken, each with all slices of its patient as its stack."""
    found = read_image_folder(source).slices
    records = [record for record in found if record.path.relative_to(source).parts[0] not in left_out]
    masks = sum(record.mask is not None for record in records)
    if masks:
        log.info("%d masks (*_mask files) are left out", masks)
    stacks: dict[str, list[pathlib.Path]] = {}
    for record in records:
        stacks.setdefault(record.patient, []).append(record.path)
    whole = {patient: tuple(paths) for patient, paths in stacks.items()}
    return {
        record.path.relative_to(source): ImageFile(record.path, whole[record.patient], record.index)
        for record in records
        if record.path.relative_to(source).as_posix() in taken
    }


def _without(names: list[str], left_out: tuple[str, ...]) -> list[str]:
    return [name for name in names if name.split("/")[0] not in left_out]


def _is_bids(source: pathlib.Path) -> bool:
    """Whether a folder is the root of a data set in BIDS."""
    if (source / "dataset_description.json").is_file():
        return True
    return any((source / name).is_dir() for name in _NOT_RAW) and any(source.glob("sub-*/"))


def _begins_as_image(path: pathlib.Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(_IMAGE_STARTS)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Check its permissions.") from error
