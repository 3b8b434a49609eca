"""The LGG segmentation set of Buda et al. 2019 as published (`kaggle_3m/`)."""

import csv
import logging
import os
import pathlib
import re
from collections import Counter

from keras_mrisr.data.slices import Finding, SliceDataset, SliceRecord, natural_key
from keras_mrisr.errors import DataError

log = logging.getLogger(__name__)

SEQUENCES = ("pre-contrast", "FLAIR", "post-contrast")
"""What the red, green and blue channels of a slice are."""

_PATIENT = re.compile(r"TCGA_([0-9A-Za-z]+)_([0-9A-Za-z]+)_([0-9]+)")
_SLICE = re.compile(r"(?P<patient>.+)_(?P<index>[0-9]+)(?P<mask>_mask)?\.tiff?", re.IGNORECASE)


def find_lgg_root(root: str | os.PathLike) -> pathlib.Path | None:
    """The folder of patient folders: `root`, or up to two levels below it; None where there is none.

    Kaggle's archive holds the tree twice; the one nearest to `root` is taken.
    """
    level = [pathlib.Path(root)]
    for _ in range(3):
        for folder in level:
            if any(_PATIENT.fullmatch(child.name) for child in _folders(folder)):
                return folder
        level = sorted(child for folder in level for child in _folders(folder))
    return None


def read_lgg(root: str | os.PathLike) -> SliceDataset:
    """Reads the tree of patients, slices and masks, and `data.csv` where it is; decodes no pixels.

    Folders are `TCGA_<site>_<id>_<date>`, files `<folder>_<number>.tif` with `<folder>_<number>_mask.tif`.

    Args:
        root: The `kaggle_3m` folder, or a folder that holds it one or two levels down.

    Returns:
        A data set of kind "lgg": patients in order, slices in numeric order, `table` from `data.csv`.
        Findings say which masks, slices, patients or table rows lack their counterpart.

    Raises:
        DataError: No such folder, no patient folder in it, or no slice in any of them.
    """
    given = pathlib.Path(root)
    if not given.is_dir():
        raise DataError(
            f"{given} {'is not a folder' if given.exists() else 'does not exist'}."
            " Give the kaggle_3m folder of the LGG set (mrisr data download lgg DEST fetches it)."
        )
    found = find_lgg_root(given)
    if found is None:
        raise DataError(
            f"{given} holds no TCGA_<site>_<id>_<date> folders. Give the kaggle_3m folder of the LGG set."
        )
    slices: list[SliceRecord] = []
    findings: list[Finding] = []
    for folder in sorted(_folders(found), key=lambda child: natural_key(child.name)):
        match = _PATIENT.fullmatch(folder.name)
        if match is None:
            findings.append(
                Finding("unexpected-file", folder, None, f"folder {folder.name} is not a patient's")
            )
            continue
        records, odd = _read_patient(folder, site=match.group(1))
        slices += records
        findings += odd
    if not slices:
        raise DataError(
            f"{found} has patient folders but no slice in them. Expected <patient>_<number>.tif files."
        )
    table, odd = _read_table(found / "data.csv", {record.patient for record in slices})
    dataset = SliceDataset(found, "lgg", tuple(slices), tuple(findings + odd), table)
    _report(dataset)
    return dataset


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        return [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except OSError:  # Not a folder, or one that may not be looked into.
        return []


def _read_patient(folder: pathlib.Path, site: str) -> tuple[list[SliceRecord], list[Finding]]:
    patient = folder.name
    images: dict[int, pathlib.Path] = {}
    masks: dict[int, pathlib.Path] = {}
    findings = []
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        message = f"folder {patient} cannot be read ({error.strerror})"
        return [], [Finding("unreadable", folder, patient, message)]
    for path in paths:
        if path.name.startswith("."):
            continue
        match = _SLICE.fullmatch(path.name)
        target = None if match is None else masks if match["mask"] else images
        if (
            target is None
            or match["patient"] != patient
            or not path.is_file()
            or int(match["index"]) in target
        ):
            findings.append(
                Finding("unexpected-file", path, patient, f"{path.name} is not a slice of {patient}")
            )
        else:
            target[int(match["index"])] = path
    for index in sorted(set(masks) - set(images)):
        message = f"{masks[index].name} has no image beside it"
        findings.append(Finding("unpaired-mask", masks[index], patient, message))
    for index in sorted(set(images) - set(masks)):
        findings.append(Finding("missing-mask", images[index], patient, f"{images[index].name} has no mask"))
    if not images:
        return [], [*findings, Finding("no-slices", folder, patient, f"{patient} has no slices")]
    absent = sorted(set(range(min(images), max(images))) - set(images))
    if absent:
        numbers = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
        findings.append(Finding("missing-slice", folder, patient, f"{patient} lacks slice number {numbers}"))
    records = [SliceRecord(images[index], patient, index, site, masks.get(index)) for index in sorted(images)]
    return records, findings


def _read_table(path: pathlib.Path, patients: set[str]) -> tuple[dict[str, dict[str, str]], list[Finding]]:
    """Rows of `data.csv` by patient folder; the table names patients without the date."""
    if not path.is_file():
        return {}, []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = {row["Patient"]: row for row in csv.DictReader(stream) if row["Patient"]}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        return {}, [Finding("table", path, None, f"data.csv cannot be used ({error!r})")]
    table, findings = {}, []
    for patient in sorted(patients):
        row = rows.pop(patient, None) or rows.pop(patient.rsplit("_", 1)[0], None)
        if row is None:
            findings.append(Finding("not-listed", path, patient, f"{patient} is not in data.csv"))
        else:
            # A row longer than the header has its rest under None.
            table[patient] = {key: value or "" for key, value in row.items() if key and key != "Patient"}
    for patient in sorted(rows):
        findings.append(
            Finding("not-present", path, patient, f"{patient} is in data.csv but has no slices here")
        )
    return table, findings


def _report(dataset: SliceDataset) -> None:
    kinds = Counter(finding.kind for finding in dataset.findings)
    odd = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing odd"
    sites = Counter(dataset.sites.values())
    log.info(
        "%s: %s (%s); %s",
        dataset.root, dataset.extent,
        ", ".join(f"{site} {count}" for site, count in sorted(sites.items())), odd,
    )  # fmt: skip
