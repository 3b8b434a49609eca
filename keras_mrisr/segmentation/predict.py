"""Masks for files and folders of images."""

import collections
import dataclasses
import itertools
import logging
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr.data.image_folder import read_image_folder
from keras_mrisr.data.images import read_image, write_image
from keras_mrisr.data.slices import SliceRecord
from keras_mrisr.errors import ConfigError, DataError, IncompleteError, MrisrError
from keras_mrisr.files import check_new_file, check_not_source, held
from keras_mrisr.folders import ALL, Choice, Failure, check_results, no_place_left, refuse_incomplete
from keras_mrisr.segmentation.segmenter import Segmenter
from keras_mrisr.types import PathLike, Progress

log = logging.getLogger(__name__)

LOSSLESS = (".png", ".tif", ".tiff")


@dataclasses.dataclass(frozen=True)
class Segmented:
    """What became of images.

    Attributes:
        written: The masks that were made.
        skipped: How many were there already.
        failures: Images that could not be segmented.
    """

    written: list[pathlib.Path]
    skipped: int = 0
    failures: tuple[Failure, ...] = ()


def segment_path(
    source: PathLike, target: PathLike, segmenter: Segmenter, **options: Any
) -> list[pathlib.Path]:
    """Segments an image file, or all images in a folder and below, but for masks (`*_mask.*`).

    Args:
        source: As for `segment_input`, and so the others.
        target: Likewise.
        segmenter: Likewise.
        **options: Likewise.

    Returns:
        List of the paths that were written.

    Raises:
        DataError: As `segment_input`.
        IncompleteError: Some images of a folder could not be segmented; all others are done.
    """
    outcome = segment_input(source, target, segmenter, **options)
    refuse_incomplete(outcome.failures, "segmented")
    return outcome.written


def segment_input(
    source: PathLike,
    target: PathLike,
    segmenter: Segmenter,
    largest: bool = False,
    patient_pattern: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    *,
    skip_existing: bool = False,
    choice: Choice = ALL,
) -> Segmented:
    """Segments an image file, or all images in a folder and below, but for masks (`*_mask.*`).

    A mask is a grey 8-bit image of the size of its slice, 255 where the lesion is. Each mask of a folder is
    written as soon as its patient is done, and a bad image stops no other.

    Args:
        source: An image file, or a folder of them.
        target: For a file the mask to write (PNG or TIFF), or an existing folder for it; for a folder the
            folder to write, in which `NAME_mask.tif` (`.png` for PNG and JPEG) is the mask of `NAME.tif`.
        segmenter: A `Segmenter`.
        largest: Keep only the largest lesion of each patient.
        patient_pattern: Which images are slices of one patient: see `read_image_folder`. By default those
            in one folder. Their brightness is judged together.
        overwrite: Replace a target that exists; of a folder each mask that exists, and nothing else.
        progress: Called with the number of slices done so far and the number in all.
        skip_existing: Of a folder: leave masks that are there as they are, and make the others.
        choice: Which images of a folder are taken.

    Raises:
        ConfigError: `overwrite` along with `skip_existing`, or a choice among one file.
        DataError: A bad source file, or a target that exists, that is or holds the source, or that cannot
            be written; or no image of a folder could be segmented.
        IncompleteError: Nothing more can be written; what was done stays.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    if overwrite and skip_existing:
        raise ConfigError("`overwrite` makes all again, `skip_existing` what is missing: leave out one.")
    if not source.exists():
        raise DataError(f"{source} does not exist. Give an image file or a folder of images.")
    if source.is_dir():
        records = read_image_folder(source, patient_pattern, choice).slices
        check_results(source, target, overwrite, skip_existing)
        with held(target):
            return _Folder(source, target, segmenter, largest, skip_existing).segment(records, progress)
    if choice or skip_existing:
        raise ConfigError(
            f"`include`, `exclude` and `skip_existing` are for folders, and {source} is a file."
        )
    if target.is_dir():
        target = target / mask_name(source)
    if target.suffix.lower() not in LOSSLESS:
        raise DataError(f"{target} is no folder and no PNG or TIFF name: make the folder, or end in .png.")
    check_not_source(target, source)
    check_new_file(target, overwrite)
    [mask] = segmenter([_read(source, segmenter)], largest=largest)
    _write(target, mask)
    if progress is not None:
        progress(1, 1)
    return Segmented([target])


def mask_name(path: pathlib.Path) -> str:
    """The name of the mask of an image: `NAME_mask.png`, or `.tif` where the image is a TIFF."""
    suffix = path.suffix if path.suffix.lower() in LOSSLESS else ".png"
    return f"{path.stem}_mask{suffix}"


class _Folder:
    """Segments the images of a folder, patient by patient.

    Args:
        source: The folder.
        target: Where the masks go.
        segmenter: A `Segmenter`.
        largest: Keep only the largest lesion of each patient.
        skip_existing: Leave masks that are there as they are.
    """

    def __init__(
        self,
        source: pathlib.Path,
        target: pathlib.Path,
        segmenter: Segmenter,
        largest: bool,
        skip_existing: bool,
    ) -> None:
        self.source, self.target, self.segmenter = source, target, segmenter
        self.largest, self.skip_existing = largest, skip_existing
        self.written: list[pathlib.Path] = []
        self.errors: dict[pathlib.Path, BaseException] = {}

    def segment(self, records: Sequence[SliceRecord], progress: Progress | None) -> Segmented:
        """Segments them all.

        Raises:
            DataError: No image could be segmented: the reason of the first.
            IncompleteError: Nothing more can be written.
        """
        places = {record: self.target / name for record, name in _mask_names(self.source, records).items()}
        done = 0
        for _, found in itertools.groupby(records, key=lambda record: record.patient):
            stack = list(found)
            wanted = [one for one in stack if not (self.skip_existing and places[one].exists())]
            if wanted:
                self._segment(stack, {one: places[one] for one in wanted})
            done += len(stack)
            if progress is not None:
                progress(done, len(records))
        return self._outcome(len(records))

    def _outcome(self, count: int) -> Segmented:
        skipped = count - len(self.written) - len(self.errors)
        if self.errors and not self.written and not skipped:
            raise next(iter(self.errors.values()))
        failures = tuple(Failure.of(error, path) for path, error in self.errors.items())
        for failure in failures:
            log.warning("Failed: %s", failure.reason)
        return Segmented(self.written, skipped, failures)

    def _segment(self, stack: Sequence[SliceRecord], wanted: Mapping[SliceRecord, pathlib.Path]) -> None:
        """Segments a patient, whose slices are judged together, and writes the masks that are wanted."""
        images = {}
        for record in stack:
            try:
                images[record] = _read(record.path, self.segmenter)
            except (DataError, OSError, MemoryError) as error:
                if record in wanted:
                    self.errors[record.path] = error
        try:
            masks = self.segmenter(list(images.values()), largest=self.largest) if images else []
        except (DataError, MemoryError) as error:
            reason = DataError(f"Patient {stack[0].patient}: {error}")
            self.errors |= {record.path: reason for record in images if record in wanted}
            return
        for record, mask in zip(images, masks, strict=True):
            if record in wanted:
                self._write(record, wanted[record], mask)

    def _write(self, record: SliceRecord, path: pathlib.Path, mask: np.ndarray) -> None:
        try:
            _write(path, mask)
            self.written.append(path)
        except (DataError, OSError) as error:
            if no_place_left(error):
                raise IncompleteError(
                    f"{error} {len(self.written)} masks are written: make room, and pass "
                    "`skip_existing=True` to go on with the others."
                ) from error
            self.errors[record.path] = error


def _mask_names(source: pathlib.Path, records: Iterable[SliceRecord]) -> dict[SliceRecord, pathlib.Path]:
    """{record: path of its mask below the target}, each another."""
    below = {record: record.path.relative_to(source) for record in records}
    names = {record: path.with_name(mask_name(path)) for record, path in below.items()}
    for name, number in collections.Counter(names.values()).most_common(1):
        if number > 1:
            raise DataError(f"{source} has two images whose mask would be {name}: keep one of them.")
    return names


def _write(path: pathlib.Path, mask: np.ndarray) -> None:
    write_image(path, np.where(mask, 255, 0).astype(np.uint8))


def _read(path: pathlib.Path, segmenter: Segmenter) -> np.ndarray:
    image = read_image(path)
    try:
        segmenter.check_image(image)
    except MrisrError as error:
        raise DataError(f"{path}: {error}") from error
    return image
