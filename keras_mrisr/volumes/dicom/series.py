"""Sorting DICOM images into series, and choosing one."""

import dataclasses
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

from keras_mrisr.errors import DataError
from keras_mrisr.volumes.dicom.frames import is_localizer, number_of, value_of

log = logging.getLogger(__name__)

_LISTED = 8


@dataclasses.dataclass(frozen=True, eq=False)
class DicomSeries:
    """The images of one SeriesInstanceUID.

    Attributes:
        place: The folder or file in which it was found.
        files: (path, header without pixels) of each file.
    """

    place: pathlib.Path
    files: Sequence[tuple[pathlib.Path, Any]]

    @property
    def uid(self) -> str:
        """SeriesInstanceUID, "" where there is none."""
        return str(self.files[0][1].get("SeriesInstanceUID") or "")

    @property
    def number(self) -> str:
        """SeriesNumber as text, "" where there is none."""
        return str(value_of(self.files[0][1], "SeriesNumber", ""))

    @property
    def description(self) -> str:
        """SeriesDescription, "" where there is none."""
        return str(self.files[0][1].get("SeriesDescription") or "")

    @property
    def label(self) -> str:
        """One phrase for lists and messages: number, description, number of images."""
        words = [self.number, f"'{self.description}'" if self.description else "", f"({self._count} images)"]
        return " ".join(word for word in words if word)

    @property
    def problem(self) -> str | None:
        """Why it can be no MR volume, in a phrase; None if nothing in its headers speaks against it."""
        for path, header in self.files:
            modality = header.get("Modality")
            if modality != "MR":
                return f"its modality is {modality or 'not given'}, not MR"
            photometric = header.get("PhotometricInterpretation", "MONOCHROME2")
            if header.get("SamplesPerPixel", 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
                return f"{path.name} is a colour image"
            if "MOSAIC" in (header.get("ImageType") or ()):
                return f"{path.name} is a mosaic of slices, which dcm2niix can convert to NIfTI"
        if all(is_localizer(header.get("ImageType")) for _, header in self.files):
            return "it is a localizer"
        for path, header in self.files:
            if "ImagePositionPatient" not in header and "PerFrameFunctionalGroupsSequence" not in header:
                return f"{path.name} does not say where it lies in space"
        return None

    @property
    def _count(self):
        return sum(int(number_of(header, "NumberOfFrames", 1)) for _, header in self.files)


def sort_into_series(place: pathlib.Path, files: Sequence[tuple[pathlib.Path, Any]]) -> list[DicomSeries]:
    """Files by SeriesInstanceUID, the series in the order of their numbers."""
    by_uid: dict[str, list] = {}
    for path, header in files:
        by_uid.setdefault(str(header.get("SeriesInstanceUID") or ""), []).append((path, header))
    found = [DicomSeries(place, files) for files in by_uid.values()]
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
    if wanted is not None:
        candidates = [one for one in found if str(wanted) in (one.uid, one.number, one.description)]
        if len(candidates) != 1:
            which = "no series" if not candidates else f"{len(candidates)} series"
            raise DataError(
                f"{place} holds {which} {str(wanted)!r}. Choose one with --series: {_list(found)}."
            )
    else:
        candidates = [one for one in found if one.problem is None] if len(found) > 1 else list(found)
        if not candidates:
            raise DataError(f"{place} holds no series that is an MR volume: {_list(found)}.")
        if len(candidates) > 1:
            raise DataError(f"{place} holds several series. Choose one with --series: {_list(found)}.")
    chosen = candidates[0]
    if chosen.problem is not None:
        raise DataError(f"{place}: series {chosen.label} is no MR volume: {chosen.problem}.")
    others = [one for one in found if one is not chosen]
    if others and wanted is None:
        log.warning("%s: only series %s can be a volume; left out: %s", place, chosen.label, _list(others))
    return chosen


def _list(found):
    """Series in a line; with their identifiers where numbers don't tell them apart."""
    unique = len({one.number for one in found}) == len(found)
    texts = []
    for one in found[:_LISTED]:
        text = one.label if unique else f"{one.label} {one.uid}"
        texts.append(f"{text} [{one.problem}]" if one.problem else text)
    return "; ".join(texts) + (f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else "")
