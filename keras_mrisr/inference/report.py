"""The residual of consistent results, in a JSON file beside them."""

import json
import pathlib
from collections.abc import Mapping

from keras_mrisr.data.images import IMAGE_SUFFIXES
from keras_mrisr.errors import DataError
from keras_mrisr.files import check_new_file, write_json
from keras_mrisr.types import PathLike
from keras_mrisr.volumes.formats import ENDINGS


def residual_path(target: PathLike) -> pathlib.Path:
    """Where the residual of a consistent result stands: `out.nii.gz`, `out.png` or `out` -> `out.json`."""
    target = pathlib.Path(target)
    for ending in (".nii.gz", *ENDINGS, ".dcm", *IMAGE_SUFFIXES):
        if target.name.lower().endswith(ending):
            return target.with_name(target.name[: -len(ending)] + ".json")
    return target.with_name(target.name + ".json")  # Folders have no ending, whatever dots they hold.


def check_report(path: pathlib.Path, overwrite: bool = False) -> None:
    """Checks before the work that a residual can be written to `path`.

    Raises:
        DataError: See `check_new_file`; or what would be replaced is no residual, such as the JSON file that
            BIDS puts beside every scan.
    """
    check_new_file(path, overwrite)
    if path.exists() and not _is_report(path):
        raise DataError(f"{path} is no residual of ours: it is not replaced by one. Choose another OUT.")


def write_report(path: pathlib.Path, model: str, residual: Mapping[str, float]) -> None:
    """Writes a residual as JSON."""
    write_json(path, {"model": model, "residual": dict(residual)})


def _is_report(path: pathlib.Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "residual" in content
