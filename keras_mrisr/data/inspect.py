"""What is in a data set, as rows of a table."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence

from keras_mrisr.data.contact_sheet import contact_sheet
from keras_mrisr.data.quality import SlicePixels, find_oddities, scan_pixels
from keras_mrisr.data.slices import Finding, SliceDataset

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
    """

    dataset: SliceDataset
    rows: tuple[SiteRow, ...]
    total: SiteRow

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

    def to_dict(self) -> dict:
        """Everything as plain values, for JSON."""
        return {
            "root": str(self.dataset.root),
            "kind": self.dataset.kind,
            "sites": [dataclasses.asdict(row) for row in self.rows],
            "total": dataclasses.asdict(self.total),
            "findings": [
                {**dataclasses.asdict(finding), "path": None if finding.path is None else str(finding.path)}
                for finding in self.dataset.findings
            ],
        }


def inspect_dataset(
    dataset: SliceDataset, progress: Callable[[int, int], None] | None = None
) -> DatasetReport:
    """Reads every slice once and counts what is there, per site and in all.

    Args:
        dataset: The slices.
        progress: Called with (slices done, slices in all) after each slice.

    Raises:
        DataError: It is a data set of volumes.
    """
    dataset.require_slices()
    scanned = scan_pixels(dataset, progress)
    dataset = dataset.with_findings(find_oddities(dataset, scanned))
    groups: dict[str, list[SlicePixels]] = {}
    for pixels in scanned:
        groups.setdefault(pixels.record.site or "-", []).append(pixels)
    rows = tuple(_row(site, groups[site], dataset.findings) for site in sorted(groups))
    total = _row("all", scanned, dataset.findings)
    return DatasetReport(dataset, rows, total)


def _row(site: str, scanned: Sequence[SlicePixels], findings: Sequence[Finding]) -> SiteRow:
    patients = {pixels.record.patient for pixels in scanned}
    readable = [pixels for pixels in scanned if pixels.shape is not None]
    masked = [pixels for pixels in readable if pixels.tumour is not None]
    tumour = [pixels for pixels in masked if pixels.tumour > 0]
    return SiteRow(
        site=site,
        patients=len(patients),
        slices=len(scanned),
        sizes=dict(Counter(f"{pixels.shape[0]}x{pixels.shape[1]}" for pixels in readable).most_common()),
        dtypes=dict(Counter(pixels.dtype for pixels in readable).most_common()),
        channels=dict(Counter(str(pixels.shape[2]) for pixels in readable).most_common()),
        tumour_slices=len(tumour) if masked else None,
        tumour_patients=len({pixels.record.patient for pixels in tumour}) if masked else None,
        tissue=sum(pixels.tissue for pixels in readable) / max(1, len(readable)),
        # Findings without a patient (a broken table, say) count in the totals only.
        findings=sum(site == "all" or finding.patient in patients for finding in findings),
    )


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
