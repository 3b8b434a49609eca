"""What is in a data set, as rows of a table."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

from keras_mrisr.data.contact_sheet import contact_sheet
from keras_mrisr.data.quality import SlicePixels, find_oddities, scan_pixels
from keras_mrisr.data.slices import Finding, SliceDataset
from keras_mrisr.data.usable import usable
from keras_mrisr.data.volume_slices import as_slices
from keras_mrisr.folders import Failure
from keras_mrisr.types import Progress

__all__ = ["DatasetReport", "SiteRow", "contact_sheet", "inspect_dataset"]

_COLUMNS = (
    "site", "patients", "slices", "size", "type", "channels",
    "tumour slices", "tumour patients", "tissue", "findings",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SiteRow:
    """The numbers of one site, or of all.

    Attributes:
        site: The site, "-" where there is none, "all" in the row of totals.
        patients: How many patients.
        slices: How many slices.
        sizes: Slice sizes "HxW" with how many slices have each.
        dtypes: Pixel types with how many slices have each.
        channels: Channel counts with how many slices have each.
        tumour_slices: Slices whose mask isn't empty; None where no slice has a mask.
        tumour_patients: Patients with such a slice; None where no slice has a mask.
        tissue: Mean part of the pixels in [0, 1] that is tissue, over the readable slices.
        findings: How many findings concern the site's patients.
    """

    site: str
    patients: int
    slices: int
    sizes: dict[str, int]
    dtypes: dict[str, int]
    channels: dict[str, int]
    tumour_slices: int | None
    tumour_patients: int | None
    tissue: float
    findings: int

    def cells(self) -> list[str]:
        """The row as text, in the order of `DatasetReport.columns`."""

        def dash(value: int | None) -> str:
            return "-" if value is None else str(value)

        return [
            self.site, str(self.patients), str(self.slices), _mixture(self.sizes), _mixture(self.dtypes),
            _mixture(self.channels), dash(self.tumour_slices), dash(self.tumour_patients),
            f"{self.tissue:.0%}", str(self.findings),
        ]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class DatasetReport:
    """What `inspect_dataset` found.

    Attributes:
        dataset: The data set, with the findings about its pixels added.
        rows: One row per site.
        total: The row of all sites together.
        failures: The files that cannot be read.
    """

    dataset: SliceDataset
    rows: tuple[SiteRow, ...]
    total: SiteRow
    failures: tuple[Failure, ...] = ()

    columns = _COLUMNS

    def to_table(self) -> tuple[list[str], list[list[str]]]:
        """Column names and rows of text; the totals come last where there is more than one site."""
        rows = [*self.rows, self.total] if len(self.rows) > 1 else [self.total]
        return list(self.columns), [row.cells() for row in rows]

    def finding_lines(self, per_kind: int = 5) -> list[str]:
        """Lines for a person: each kind with its count and its first `per_kind` findings."""
        kinds: dict[str, list[Finding]] = {}
        for finding in self.dataset.findings:
            kinds.setdefault(finding.kind, []).append(finding)
        lines = []
        for kind, found in sorted(kinds.items()):
            lines.append(f"{kind}: {len(found)}")
            lines += [f"  {finding.message}" for finding in found[:per_kind]]
            if len(found) > per_kind:
                lines.append(f"  ... and {len(found) - per_kind} more")
        return lines


def inspect_dataset(dataset: SliceDataset, progress: Progress | None = None) -> DatasetReport:
    """Reads every slice once and counts what is there, per site and in all.

    Args:
        dataset: The slices, or volumes, of which each slice counts.
        progress: Called with (slices done, slices in all) after each slice.

    Raises:
        DataError: No volume can be read.
    """
    if dataset.holds_volumes:
        dataset = _readable_volumes(dataset)
    scanned = scan_pixels(dataset, progress)
    dataset = dataset.with_findings(find_oddities(dataset, scanned))
    failures = tuple(
        Failure(finding.path, finding.message)
        for finding in dataset.findings
        if finding.kind in ("unreadable", "mask") and finding.path is not None
    )
    groups: dict[str, list[SlicePixels]] = {}
    for pixels in scanned:
        groups.setdefault(pixels.record.site or "-", []).append(pixels)
    rows = tuple(_row(site, groups[site], dataset.findings) for site in sorted(groups))
    total = _row("all", scanned, dataset.findings)
    return DatasetReport(dataset, rows, total, failures)


def _readable_volumes(dataset: SliceDataset) -> SliceDataset:
    """The slices of the volumes that can be used; the others are findings."""
    taken, failures = usable(dataset)
    bad = {failure.path: failure.reason for failure in failures}
    owners = {record.path: record.patient for record in dataset.slices}
    findings = [Finding("unreadable", path, owners[path], reason) for path, reason in bad.items()]
    findings += [
        Finding("unfit", record.path, record.patient, f"{record.name} is 4-D, or of another kind than most")
        for record in dataset.slices
        if record not in taken.slices and record.path not in bad
    ]
    return as_slices(taken).with_findings(findings)


def _row(site: str, scanned: Sequence[SlicePixels], findings: Sequence[Finding]) -> SiteRow:
    patients = {pixels.record.patient for pixels in scanned}
    shapes = [pixels.shape for pixels in scanned if pixels.shape is not None]
    tumour_slices, tumour_patients = _tumours(scanned)
    # Findings without a patient (a broken table, say) count in the totals only.
    concern = [finding for finding in findings if site == "all" or finding.patient in patients]
    return SiteRow(
        site=site,
        patients=len(patients),
        slices=len(scanned),
        sizes=_counts("x".join(map(str, shape[:2])) for shape in shapes),
        dtypes=_counts(pixels.dtype for pixels in scanned),
        channels=_counts(str(shape[2]) for shape in shapes),
        tumour_slices=tumour_slices,
        tumour_patients=tumour_patients,
        tissue=sum(pixels.tissue for pixels in scanned) / max(1, len(shapes)),
        findings=len(concern),
    )


def _tumours(scanned: Sequence[SlicePixels]) -> tuple[int | None, int | None]:
    """How many slices and patients show a tumour; None where there are no masks."""
    if all(pixels.tumour is None for pixels in scanned):
        return None, None
    patients = [pixels.record.patient for pixels in scanned if pixels.tumour]
    return len(patients), len(set(patients))


def _counts(values: Iterable[str | None]) -> dict[str, int]:
    """How often each value occurs, the most frequent first; None does not count."""
    return dict(Counter(value for value in values if value is not None).most_common())


def _mixture(counts: dict[str, int]) -> str:
    """`256x256`, or `256x256 and 2 others`."""
    if not counts:
        return "-"
    first, *others = counts
    return (
        first
        if not others
        else f"{first}, {others[0]}"
        if len(others) == 1
        else f"{first} + {len(others)} others"
    )
