"""Sorting DICOM images into series, and choosing one."""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

from keras_mrisr.errors import DataError
from keras_mrisr.volumes.dicom.files import Image, SetApart, printable
from keras_mrisr.volumes.dicom.frames import is_localizer, number_of, value_of

log = logging.getLogger(__name__)

_LISTED = 8


@dataclasses.dataclass(frozen=True, eq=False)
class DicomSeries:
    """The images of one SeriesInstanceUID.

    Attributes:
        place: The folder or file in which it was found.
        files: (path, header without pixels) of each file.
        broken: Files that may belong to it, and cannot be read.
    """

    place: pathlib.Path
    files: Sequence[Image]
    broken: Sequence[SetApart] = ()

    @property
    def uid(self) -> str:
        """SeriesInstanceUID, "" where there is none."""
        return _uid(self.files[0][1])

    @property
    def number(self) -> str:
        """SeriesNumber as text, "" where there is none."""
        return str(value_of(self._first, "SeriesNumber", ""))

    @property
    def description(self) -> str:
        """SeriesDescription, "" where there is none."""
        return str(value_of(self._first, "SeriesDescription", ""))

    @property
    def label(self) -> str:
        """One phrase for lists and messages: number, description, number of images."""
        words = [self.number, f"'{self.description}'" if self.description else "", f"({self._count} images)"]
        return printable(" ".join(word for word in words if word))

    @property
    def problem(self) -> str | None:
        """Why it can be no MR volume, in a phrase; None if nothing in its headers speaks against it."""
        if not self.usable:
            return _problem(self.files[0][1])
        if all(is_localizer(header.get("ImageType")) for _, header in self.usable):
            return "it is a localizer"
        studies = {str(header.get("StudyInstanceUID") or "") for _, header in self.usable}
        if len(studies) > 1:
            return f"its images are of {len(studies)} studies, which one series cannot be: put them apart"
        return None

    @functools.cached_property
    def strays(self) -> list[SetApart]:
        """Images in it that are no MR slices: screenshots, colour maps, other modalities."""
        problems = ((path, header, _problem(header)) for path, header in self.files)
        return [
            SetApart(path, f"{path.name}: {problem}", header, broken=False)
            for path, header, problem in problems
            if problem
        ]

    @functools.cached_property
    def usable(self) -> list[Image]:
        """The images that may be slices of a volume."""
        strays = {one.path for one in self.strays}
        return [(path, header) for path, header in self.files if path not in strays]

    @property
    def _first(self) -> Any:
        return (self.usable or self.files)[0][1]

    @property
    def _count(self) -> int:
        return sum(int(number_of(header, "NumberOfFrames", 1)) for _, header in self.files)


def _problem(header: Any) -> str | None:
    """Why an image can be no slice of an MR volume, in a phrase; None if nothing speaks against it."""
    modality = header.get("Modality")
    if modality != "MR":
        return f"its modality is {printable(modality or 'not given')}, not MR"
    photometric = header.get("PhotometricInterpretation", "MONOCHROME2")
    if header.get("SamplesPerPixel", 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        return "it is a colour image"
    if "ImagePositionPatient" not in header and "PerFrameFunctionalGroupsSequence" not in header:
        return "it does not say where it lies in space"
    return None


def sort_into_series(
    place: pathlib.Path, files: Sequence[Image], broken: Sequence[SetApart] = ()
) -> list[DicomSeries]:
    """Files by SeriesInstanceUID, the series in the order of their numbers.

    A broken file that does not say, or not to its end, to which series it belongs may belong to any.
    """
    by_uid: dict[str, list[Image]] = {}
    for path, header in files:
        by_uid.setdefault(_uid(header), []).append((path, header))
    found = [
        DicomSeries(place, images, [one for one in broken if uid.startswith(_uid(one.header))])
        for uid, images in by_uid.items()
    ]
    return sorted(found, key=lambda one: (int(one.number) if one.number.isdigit() else -1, one.uid))


def choose_series(found: Sequence[DicomSeries], place: pathlib.Path, wanted: str | int | None) -> DicomSeries:
    """The one series that was asked for, or the only one that can be a volume.

    Args:
        found: All series in the folder.
        place: What messages call the folder.
        wanted: SeriesInstanceUID, SeriesNumber or SeriesDescription; None for the only one.

    Raises:
        DataError: None or several fit, and the message lists them; or the one is no MR volume.
    """
    if not found:
        raise DataError(f"{place} holds no DICOM image. Give a .nii or .nii.gz file or a DICOM folder.")
    chosen = _chosen(found, place, wanted)
    if chosen.problem is not None:
        raise DataError(f"{place}: series {chosen.label} is no MR volume: {chosen.problem}.")
    others = [one for one in found if one is not chosen]
    if others and wanted is None:
        log.warning("%s: only series %s can be a volume; left out: %s", place, chosen.label, _list(others))
    return chosen


def _chosen(found: Sequence[DicomSeries], place: pathlib.Path, wanted: str | int | None) -> DicomSeries:
    """The one series that fits.

    Raises:
        DataError: None or several do.
    """
    if wanted is not None:
        candidates = _named(found, str(wanted))
        what = f"{len(candidates) or 'no'} series {str(wanted)!r}. Choose one with `series`"
    elif candidates := _possible(found):
        what = "several series. Choose one with `series`"
    else:
        what = "no series that is an MR volume"
    if len(candidates) != 1:
        raise DataError(f"{place} holds {what}: {_list(found)}.")
    return candidates[0]


def _named(found: Sequence[DicomSeries], wanted: str) -> list[DicomSeries]:
    return [one for one in found if wanted in (one.uid, one.number, one.description)]


def _possible(found: Sequence[DicomSeries]) -> list[DicomSeries]:
    """The series that can be volumes; of a single one the caller says why it is none."""
    return [one for one in found if one.problem is None or len(found) == 1]


def _uid(header: Any) -> str:
    return str(value_of(header, "SeriesInstanceUID", "")) if header is not None else ""


def _list(found: Sequence[DicomSeries]) -> str:
    """Series in a line; with their identifiers where numbers don't tell them apart."""
    unique = len({one.number for one in found}) == len(found)
    texts = []
    for one in found[:_LISTED]:
        text = one.label if unique else f"{one.label} {one.uid}"
        texts.append(f"{text} [{one.problem}]" if one.problem else text)
    return "; ".join(texts) + (f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else "")
