"""What a reader hands on: which slices there are, whose they are, and what was odd about them."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Protocol, Self

import numpy as np

from keras_mrisr.data.images import read_image
from keras_mrisr.data.normalize import RangeNormalizer
from keras_mrisr.errors import DataError


@dataclasses.dataclass(frozen=True)
class SliceRecord:
    """One slice on disk; its pixels are not read.

    Attributes:
        path: The image file.
        patient: The patient's name, the unit of every split.
        index: Position in the patient's stack (the number in the file name where it has one).
        site: The hospital or scanner, or None where the data doesn't say.
        mask: The mask file that belongs to the slice, or None.
    """

    path: pathlib.Path
    patient: str
    index: int
    site: str | None = None
    mask: pathlib.Path | None = None

    @property
    def name(self) -> str:
        """The name of the file; of the slice of a volume "T1.nii.gz/0012"."""
        return self.path.name if self.path.suffix else f"{self.path.parent.name}/{self.path.name}"


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something odd in the data that does not stop the reader.

    Attributes:
        kind: A short word to count by: "equal-channels", "near-empty", "size", "type", "background",
            "unreadable", "mask", "unpaired-mask", "missing-mask", "missing-slice", "unexpected-file",
            "no-slices", "unfit", "not-listed", "not-present", "equal-slices" or "table".
        path: The file, or None where the finding is about a patient or the whole set.
        patient: The patient, or None.
        message: One sentence for a person.
    """

    kind: str
    path: pathlib.Path | None
    patient: str | None
    message: str


class SlicesOfVolumes(Protocol):
    """Where the slices of volumes come from; see `data.volume_slices`."""

    blank: set[SliceRecord]

    def read(self, record: SliceRecord) -> np.ndarray:
        """The slice (H, W, C)."""

    def normalizer(self, record: SliceRecord) -> RangeNormalizer:
        """The normalizer of its volume."""


@dataclasses.dataclass(frozen=True)
class SliceDataset:
    """The slices of a data set in order (patient, then position), with what was odd.

    Attributes:
        root: The folder that was read.
        kind: "lgg", "images" or "volumes".
        slices: All slices, patients in natural order and each patient's slices in theirs; of kind "volumes"
            one record for each volume, or for each of their slices (see `as_slices`).
        findings: What the reader noticed, and `inspect_dataset` once it was run.
        table: One row per patient out of the data set's own table (LGG's `data.csv`), as text.
        patients_by: How patients were found: "BIDS subject", "folder", "pattern", "file name", or several.
        volumes: Where the slices come from if they are those of volumes.
    """

    root: pathlib.Path
    kind: str
    slices: tuple[SliceRecord, ...]
    findings: tuple[Finding, ...] = ()
    table: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict, hash=False)
    patients_by: str = "folder"
    volumes: SlicesOfVolumes | None = dataclasses.field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        """The number of slices."""
        return len(self.slices)

    def read(self, record: SliceRecord) -> np.ndarray:
        """The pixels of a slice, (H, W, C) in the file's own type and intensities.

        Raises:
            DataError: See `read_image`.
        """
        return read_image(record.path) if self.volumes is None else self.volumes.read(record)

    @property
    def holds_volumes(self) -> bool:
        """Whether the records are whole volumes."""
        return self.kind == "volumes" and self.volumes is None

    @property
    def patients(self) -> tuple[str, ...]:
        """The patients that have slices, sorted by name."""
        return tuple(sorted({record.patient for record in self.slices}))

    @property
    def sites(self) -> dict[str, str | None]:
        """The site of every patient, None where unknown; what `split_patients` wants."""
        return dict(sorted({record.patient: record.site for record in self.slices}.items()))

    @property
    def extent(self) -> str:
        """How much there is, for a person: "30 slices of 1 patient"."""
        what = "volume" if self.holds_volumes else "slice"
        counts = ((len(self), what), (len(self.patients), "patient"))
        return " of ".join(f"{count} {noun}{'s' if count != 1 else ''}" for count, noun in counts)

    def by_patient(self) -> dict[str, tuple[SliceRecord, ...]]:
        """The slices of every patient, in order."""
        stacks: dict[str, list[SliceRecord]] = {}
        for record in self.slices:
            stacks.setdefault(record.patient, []).append(record)
        return {patient: tuple(stack) for patient, stack in stacks.items()}

    def stacks(self) -> list[tuple[SliceRecord, ...]]:
        """The slices that lie beside each other, in order: those of a patient, or of each volume."""
        stacks: dict[object, list[SliceRecord]] = {}
        for record in self.slices:
            beside = record.patient if self.volumes is None else record.path.parent
            stacks.setdefault(beside, []).append(record)
        return [tuple(sorted(stack, key=lambda record: record.index)) for stack in stacks.values()]

    def select(self, patients: Iterable[str]) -> Self:
        """The same data set with these patients only; findings about others are left out.

        Raises:
            DataError: A patient is not in the data set.
        """
        wanted = set(patients)
        unknown = sorted(wanted - set(self.patients))
        if unknown:
            raise DataError(
                f"{self.root} has no patient {unknown[0]!r} ({len(unknown)} of the {len(wanted)} asked for"
                " are missing): point to the data set that the split was made from"
            )
        return dataclasses.replace(
            self,
            slices=tuple(record for record in self.slices if record.patient in wanted),
            findings=tuple(
                found for found in self.findings if found.patient is None or found.patient in wanted
            ),
            table={patient: row for patient, row in self.table.items() if patient in wanted},
        )

    def require_slices(self) -> None:
        """Raises DataError for a data set of volumes, where slices are needed."""
        if self.holds_volumes:
            raise DataError(
                f"{self.root} holds {self.extent}, and slices are needed here: save them as images. (Volumes"
                " are what mrisr evaluate, mrisr train and mrisr upscale take.)"
            )

    def with_findings(self, findings: Iterable[Finding]) -> Self:
        """The same data set with more findings; one that it has already is not added twice."""
        return dataclasses.replace(self, findings=tuple(dict.fromkeys((*self.findings, *findings))))

    def without_blank(self) -> Self:
        """The same data set without the slices of volumes that show nothing but background."""
        if self.volumes is None:
            return self
        blank = self.volumes.blank
        return dataclasses.replace(
            self, slices=tuple(record for record in self.slices if record not in blank)
        )


def natural_key(text: str) -> tuple[tuple[int | str, ...], str]:
    """A sort key in which `slice_2` comes before `slice_10`, whatever the case of the letters."""
    # Splitting on a group puts text at even and numbers at odd places, so keys always compare.
    # The text itself, for names that differ in case only, must not stand where a number may stand.
    pieces = re.split(r"([0-9]+)", text.casefold())
    return tuple(int(piece) if place % 2 else piece for place, piece in enumerate(pieces)), text


def evenly_spaced(count: int, wanted: int, ends: bool = False) -> list[int]:
    """At most `wanted` of `count` places, in order and none twice.

    Args:
        count: How many places there are, from 0.
        wanted: How many to take.
        ends: Take the first and the last place, too; otherwise the middles of equal stretches, because the
            first and last slices of a volume are nearly empty.
    """
    wanted = min(count, wanted)
    if wanted < 1:
        return []
    if ends and wanted > 1:
        return [int(place) for place in np.linspace(0, count - 1, wanted).round()]
    return [0] if ends else [(2 * piece + 1) * count // (2 * wanted) for piece in range(wanted)]
