"""The LGG segmentation set of Buda et al. 2019 as published (`kaggle_3m/`)."""

import csv
import dataclasses
import logging
import pathlib
import re
from collections import Counter
from collections.abc import Iterator

from keras_mrisr.data.slices import Finding, SliceDataset, SliceRecord, natural_key
from keras_mrisr.errors import DataError
from keras_mrisr.folders import ALL, Choice
from keras_mrisr.types import PathLike

log = logging.getLogger(__name__)

SEQUENCES = ("pre-contrast", "FLAIR", "post-contrast")
"""What the red, green and blue channels of a slice are."""

_PATIENT = re.compile(r"TCGA_([0-9A-Za-z]+)_([0-9A-Za-z]+)_([0-9]+)")
_SLICE = re.compile(r"(?P<patient>.+)_(?P<index>[0-9]+)(?P<mask>_mask)?\.tiff?", re.IGNORECASE)


def find_lgg_root(root: PathLike) -> pathlib.Path | None:
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


def read_lgg(root: PathLike, choice: Choice = ALL) -> SliceDataset:
    """Reads the tree of patients, slices and masks, and `data.csv` where it is; decodes no pixels.

    Folders are `TCGA_<site>_<id>_<date>`, files `<folder>_<number>.tif` with `<folder>_<number>_mask.tif`.

    Args:
        root: The `kaggle_3m` folder, or a folder that holds it one or two levels down.
        choice: Which slices of it are taken, by their paths in the `kaggle_3m` folder.

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
    dataset = _taken(SliceDataset(found, "lgg", tuple(slices), tuple(findings + odd), table), choice)
    _report(dataset)
    return dataset


def _taken(dataset: SliceDataset, choice: Choice) -> SliceDataset:
    """The slices that are taken, with what was found about their patients."""
    if not choice:
        return dataset
    names = {record.path.relative_to(dataset.root).as_posix(): record for record in dataset.slices}
    taken = tuple(names[name] for name in choice.of(names, dataset.root))
    return dataclasses.replace(dataset, slices=taken).select({record.patient for record in taken})


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        return [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except OSError:  # Not a folder, or one that may not be looked into.
        return []


def _read_patient(folder: pathlib.Path, site: str) -> tuple[list[SliceRecord], list[Finding]]:
    patient = folder.name
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        message = f"folder {patient} cannot be read ({error.strerror})"
        return [], [Finding("unreadable", folder, patient, message)]
    images, masks, findings = _sorted_files(paths, patient)
    findings += _unmatched(folder, images, masks)
    records = [SliceRecord(images[index], patient, index, site, masks.get(index)) for index in sorted(images)]
    return records, findings


_Files = dict[int, pathlib.Path]


def _sorted_files(paths: list[pathlib.Path], patient: str) -> tuple[_Files, _Files, list[Finding]]:
    """Images and masks by their numbers, and findings about what is neither."""
    images: _Files = {}
    masks: _Files = {}
    findings = []
    for path in paths:
        if path.name.startswith("."):
            continue
        match = _SLICE.fullmatch(path.name)
        target = masks if match and match["mask"] else images
        if match and match["patient"] == patient and path.is_file() and int(match["index"]) not in target:
            target[int(match["index"])] = path
        else:
            message = f"{path.name} is not a slice of {patient}"
            findings.append(Finding("unexpected-file", path, patient, message))
    return images, masks, findings


def _unmatched(folder: pathlib.Path, images: _Files, masks: _Files) -> Iterator[Finding]:
    """Findings about masks and slices that lack their counterpart, and about numbers that are missing."""
    patient = folder.name
    for index in sorted(set(masks) - set(images)):
        message = f"{masks[index].name} has no image beside it"
        yield Finding("unpaired-mask", masks[index], patient, message)
    for index in sorted(set(images) - set(masks)):
        yield Finding("missing-mask", images[index], patient, f"{images[index].name} has no mask")
    if not images:
        yield Finding("no-slices", folder, patient, f"{patient} has no slices")
        return
    absent = sorted(set(range(min(images), max(images))) - set(images))
    if absent:
        numbers = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
        yield Finding("missing-slice", folder, patient, f"{patient} lacks slice number {numbers}")


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
            table[patient] = {key: value or "" for key, value in row.items() if key not in (None, "Patient")}
    return table, [*findings, *(_not_present(path, patient) for patient in sorted(rows))]


def _not_present(path: pathlib.Path, patient: str) -> Finding:
    return Finding("not-present", path, patient, f"{patient} is in data.csv but has no slices here")


def _report(dataset: SliceDataset) -> None:
    kinds = Counter(finding.kind for finding in dataset.findings)
    odd = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing odd"
    sites = Counter(dataset.sites.values())
    log.info(
        "%s: %s (%s); %s",
        dataset.root, dataset.extent,
        ", ".join(f"{site} {count}" for site, count in sorted(sites.items())), odd,
    )  # fmt: skip
