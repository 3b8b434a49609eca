"""Whose file it is: the patient (and site) out of a path."""

import pathlib
import re
from collections import Counter

from keras_mrisr.errors import DataError

_SUBJECT = re.compile(r"(?:^|[/_])(sub-[0-9A-Za-z]+)(?=[/_.]|$)")
# Below a patient's folder: sessions, and the kinds of data of BIDS.
_BELOW_PATIENT = re.compile(r"ses-[0-9A-Za-z]+|anat|dwi|fmap|func|perf|swi|qmri|derivatives", re.IGNORECASE)
_NIFTI_ENDING = re.compile(r"\.(nii|mgz|mgh|mha|mhd|nrrd|nhdr|img|hdr)(\.gz)?$", re.IGNORECASE)


class Patients:
    """Finds the patient of each file of a folder, and keeps count of how.

    Args:
        root: The folder.
        pattern: A regular expression that is searched in the path relative to `root` (with `/`). Its group
            named `patient`, or else its only group, is the patient; a group named `site` is the site.
            Without one the patient is the BIDS subject (`sub-...`) where the path names one. Where it does
            not, see `whole_files`.
        whole_files: Whether a file holds a whole scan: then the patient is the first folder below the root,
            or else the file. Otherwise it is the folder that holds a file, but for those of sessions and
            of kinds of data (`ses-1`, `anat`).

    Attributes:
        ways: How many files were found in which way: "BIDS subject", "folder", "pattern" or "file name".

    Raises:
        DataError: The pattern is no regular expression, or does not say what the patient is.
    """

    def __init__(self, root: pathlib.Path, pattern: str | None = None, whole_files: bool = False) -> None:
        self.ways: Counter[str] = Counter()
        self._root = root
        self._whole_files = whole_files
        self._pattern = None if pattern is None else _compiled(pattern)
        subjects = [part for part in root.resolve().parts if re.fullmatch(r"sub-[0-9A-Za-z]+", part)]
        self._subject = subjects[-1] if subjects else None

    def find(self, name: str) -> tuple[str, str | None]:
        """(patient, site) of the file `name`, a path relative to the root with `/`.

        Raises:
            DataError: The pattern does not match.
        """
        if self._pattern is not None:
            self.ways["pattern"] += 1
            return self._by_pattern(name, self._pattern)
        subject = _SUBJECT.search(name)
        patient = subject.group(1) if subject else self._subject
        way = "BIDS subject"
        if patient is None:
            patient, way = self._by_place(name)
        self.ways[way] += 1
        return patient, None

    @property
    def way(self) -> str:
        """How patients were found, for a person: "BIDS subject", or "folder, file name"."""
        return ", ".join(way for way, _ in self.ways.most_common())

    def _by_pattern(self, name: str, pattern: re.Pattern[str]) -> tuple[str, str | None]:
        match = pattern.search(name)
        patient = match and match.group("patient" if "patient" in pattern.groupindex else 1)
        if match is None or not patient:
            raise DataError(
                f"{self._root / name} does not match the patient pattern {pattern.pattern!r}"
                f" (searched in {name!r}). Mend the pattern or move the file away."
            )
        return patient, match.groupdict().get("site")

    def _by_place(self, name: str) -> tuple[str, str]:
        *folders, file = name.split("/")
        if self._whole_files:
            return (folders[0], "folder") if folders else (_NIFTI_ENDING.sub("", file), "file name")
        below = [place for place, folder in enumerate(folders) if _BELOW_PATIENT.fullmatch(folder)]
        kept = folders[: below[0]] if below else folders
        # Files in the root itself belong to one patient: the root.
        return "/".join(kept) or self._root.resolve().name, "folder"


def _compiled(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise DataError(
            f"The patient pattern {text!r} is not a regular expression: {error}. Mend it."
        ) from error
    if "patient" not in pattern.groupindex and (pattern.groups != 1 or pattern.groupindex):
        raise DataError(
            f"The patient pattern {text!r} does not say what the patient is. Give it one (group),"
            " or a group named patient: (?P<patient>...)."
        )
    return pattern
