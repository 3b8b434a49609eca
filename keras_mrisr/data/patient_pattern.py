"""Whose file it is: the patient (and site) out of a path."""

import pathlib
import re

from keras_mrisr.errors import DataError


class PatientPattern:
    """A regular expression that finds the patient in a relative path.

    Args:
        text: Its group named `patient`, or else its only group, is the patient; a group named `site` is the
            site.

    Raises:
        DataError: It is no regular expression, or does not say what the patient is.
    """

    def __init__(self, text: str):
        try:
            self._pattern = re.compile(text)
        except re.error as error:
            raise DataError(
                f"The patient pattern {text!r} is not a regular expression: {error}. Mend it."
            ) from error
        self._group: str | int = "patient" if "patient" in self._pattern.groupindex else 1
        if self._group == 1 and (self._pattern.groups != 1 or self._pattern.groupindex):
            raise DataError(
                f"The patient pattern {text!r} does not say what the patient is. Give it one (group),"
                " or a group named patient: (?P<patient>...)."
            )

    def find(self, root: pathlib.Path, name: str) -> tuple[str, str | None]:
        """(patient, site) of the file `name`, a path relative to `root` with `/`.

        Raises:
            DataError: The pattern does not match.
        """
        match = self._pattern.search(name)
        if match is None or not match.group(self._group):
            raise DataError(
                f"{root / name} does not match the patient pattern {self._pattern.pattern!r}"
                f" (searched in {name!r}). Mend the pattern or move the file away."
            )
        return match.group(self._group), match.groupdict().get("site")
