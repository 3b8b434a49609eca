"""The anatomical scans of a data set in BIDS."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from keras_mrisr.data.slices import natural_key
from keras_mrisr.errors import ConfigError, DataError, MissingDependencyError
from keras_mrisr.types import PathLike

DESCRIPTION = "dataset_description.json"
SUFFIXES = ("T1w", "T2w", "FLAIR", "PDw", "T2starw", "UNIT1", "inplaneT1", "inplaneT2")
_ENDINGS = (".nii", ".nii.gz")
# What filter files call entities, as pybids does: https://bids-specification.readthedocs.io, "Entities".
_SHORT = {
    "subject": "sub", "session": "ses", "acquisition": "acq", "ceagent": "ce", "reconstruction": "rec",
    "direction": "dir", "inversion": "inv", "modality": "mod", "processing": "proc",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class BidsScan:
    """An anatomical scan.

    Attributes:
        path: The file.
        place: Its path in the data set.
        participant: The label, without `sub-`.
        session: The label, without `ses-`; or None.
        suffix: "T1w" and the like.
        metadata: What its sidecars say, the nearer one first.
        problem: Why these cannot be read; "" where they can.
    """

    path: pathlib.Path
    place: pathlib.PurePosixPath
    participant: str
    session: str | None
    suffix: str
    metadata: Mapping[str, Any]
    problem: str = ""


def find_scans(
    root: PathLike,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    suffixes: Sequence[str] = SUFFIXES,
    filters: PathLike | None = None,
) -> list[BidsScan]:
    """The raw anatomical scans of a data set, in natural order.

    Args:
        root: The folder of the data set.
        participants: Labels, with or without `sub-`; by default all.
        sessions: Labels, with or without `ses-`; by default all.
        suffixes: What is an anatomical scan.
        filters: A JSON file as fMRIPrep's `--bids-filter-file`: {"t1w": {"suffix": "T1w", "acquisition":
            "mprage"}}. A scan is taken that matches one of its anatomical entries; null stands for an entity
            that is not there.

    Raises:
        ConfigError: A bad filter file.
        DataError: No data set in BIDS, a participant or session that is not there, or no such scan.
        MissingDependencyError: ancpbids is not installed.
    """
    root = pathlib.Path(root)
    description(root)
    wanted = {"sub": _labels(participants, "sub-"), "ses": _labels(sessions, "ses-")}
    _check_there(root, "sub-*", wanted["sub"], "participant")
    _check_there(root, "sub-*/ses-*", wanted["ses"], "session")
    files = [(file, _entities(file)) for file in _anatomical(root, suffixes)]
    queries = [] if filters is None else _queries(pathlib.Path(filters))
    found = [
        _scan(root, file, entities)
        for file, entities in files
        if all(not labels or entities.get(name) in labels for name, labels in wanted.items())
        and (filters is None or any(_fits(file, entities, query) for query in queries))
    ]
    if not found:
        raise DataError(
            f"{root} has no anatomical scan ({', '.join(suffixes)}) that is asked for. Check the labels, the "
            "suffixes and the filter file."
        )
    return sorted(found, key=lambda scan: natural_key(str(scan.place)))


def description(root: pathlib.Path) -> dict[str, Any]:
    """What the root of a raw data set says of it.

    Raises:
        DataError: It is none.
    """
    path = root / DESCRIPTION
    if not root.is_dir():
        raise DataError(f"{root} does not exist or is no folder. Give the root of a data set in BIDS.")
    if not path.is_file():
        raise DataError(f"{root} is no data set in BIDS: {DESCRIPTION} is missing. Give its root.")
    content = _object(path)
    if content.get("DatasetType") == "derivative":
        raise DataError(f"{root} is a derivative data set: its scans are processed. Give the raw one.")
    return content


def _check_there(root: pathlib.Path, pattern: str, labels: set[str], what: str) -> None:
    """Raises DataError unless the data set has these participants or sessions."""
    there = {path.name.partition("-")[2] for path in root.glob(pattern) if path.is_dir()}
    missing = sorted(labels - there, key=natural_key)
    if missing:
        known = ", ".join(sorted(there, key=natural_key)[:10]) or "none"
        raise DataError(f"{root} has no {what} {missing[0]}. There are: {known}.")


def _anatomical(root: pathlib.Path, suffixes: Sequence[str]) -> list[Any]:
    try:
        import ancpbids
    except ImportError as error:
        raise MissingDependencyError(
            "Data sets in BIDS need ancpbids, which is not installed: pip install ancpbids"
        ) from error
    dataset: Any = ancpbids.load_dataset(str(root))
    # By default the scans of derivatives would come along.
    found = dataset.query(scope="raw", suffix=list(suffixes), extension=list(_ENDINGS))
    return [file for file in found if pathlib.PurePosixPath(file.get_relative_path()).parent.name == "anat"]


def _entities(file: Any) -> dict[str, str]:
    """The labels as the name has them: ancpbids turns `run-01` into the number 1."""
    parts = file.name.split(".")[0].split("_")[:-1]
    return {key: label for key, _, label in (part.partition("-") for part in parts)}


def _scan(root: pathlib.Path, file: Any, entities: Mapping[str, str]) -> BidsScan:
    place = pathlib.PurePosixPath(file.get_relative_path())
    metadata, problem = {}, ""
    try:
        metadata = _metadata(root, place, file.suffix, entities)
    except DataError as error:  # This scan fails, and stops no other.
        problem = str(error)
    return BidsScan(root / place, place, entities["sub"], entities.get("ses"), file.suffix, metadata, problem)


def _metadata(
    root: pathlib.Path, place: pathlib.PurePosixPath, suffix: str, entities: Mapping[str, str]
) -> dict[str, Any]:
    """What the sidecars of a scan say, by the inheritance principle of BIDS: the nearer one counts.

    A sidecar is of a scan where it lies beside or above it, and the scan has all entities of its name. (Of
    ancpbids 0.4 `get_metadata` finds neither `T1w.json` nor `run-01_T1w.json`.)
    """
    merged: dict[str, Any] = {}
    for folder in (
        root,
        *(root / one for one in reversed(place.parent.parents) if one.name),
        root / place.parent,
    ):
        found = []
        for path in folder.glob(f"*{suffix}.json"):
            *parts, last = path.stem.split("_")
            if last == suffix and {part.partition("-")[::2] for part in parts} <= set(entities.items()):
                found.append((len(parts), path))
        for _, path in sorted(found):
            merged |= _object(path)
    return merged


def _labels(labels: Sequence[str], prefix: str) -> set[str]:
    return {label.removeprefix(prefix) for label in labels}


def _queries(path: pathlib.Path) -> list[dict[str, Any]]:
    """The anatomical entries of a filter file."""
    content = _object(path, ConfigError)
    if not all(isinstance(query, dict) for query in content.values()):
        raise ConfigError(f"{path}: each entry must be an object, as in {{'t1w': {{'suffix': 'T1w'}}}}.")
    return [query for query in content.values() if query.get("datatype", "anat") == "anat"]


def _fits(file: Any, entities: Mapping[str, str], query: Mapping[str, Any]) -> bool:
    known = {**entities, "suffix": file.suffix, "datatype": "anat", "extension": file.extension}
    for key, wanted in query.items():
        options = wanted if isinstance(wanted, list) else [wanted]
        if not any(_same(known.get(_SHORT.get(key, key)), option) for option in options):
            return False
    return True


def _same(label: str | None, wanted: Any) -> bool:
    """Whether a label is what is wanted; the run `1` is also `01`."""
    if label is None or wanted is None:
        return label is None and wanted is None
    return label == str(wanted) or (label.isdigit() and str(wanted).isdigit() and int(label) == int(wanted))


def _object(path: pathlib.Path, error: type[DataError] | type[ConfigError] = DataError) -> dict[str, Any]:
    """The object in a JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as reason:
        raise error(f"{path} cannot be read as JSON: {reason}") from reason
    if not isinstance(content, dict):
        raise error(f"{path} holds no JSON object.")
    return content
