"""The pages of a derivative data set: a summary, and one of each participant with before and after."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from keras_mrisr.data.slices import natural_key
from keras_mrisr.files import write_text
from keras_mrisr.version import __version__

FOLDER = (
    "docs"  # Whose content BIDS leaves open; .bidsignore would not hold for all callers of its validator.
)
TEMPLATES = pathlib.Path(__file__).parent / "templates"
SUMMARY = "index.html"


@dataclasses.dataclass(frozen=True)
class Row:
    """What became of a scan.

    Attributes:
        place: Of the raw scan in its data set.
        result: Of its result in the derivative one.
        done: Whether the result is there.
        reason: Why it is not; "" where it is.
        left_out: Whether it was left out because it holds several volumes.
    """

    place: pathlib.PurePosixPath
    result: pathlib.PurePosixPath
    done: bool = False
    reason: str = ""
    left_out: bool = False

    @property
    def participant(self) -> str:
        """`sub-01` and the like."""
        return self.place.parts[0]

    @property
    def state(self) -> str:
        """A word for it."""
        if self.done:
            return "done"
        return "left out" if self.left_out else "failed" if self.reason else "not made"

    @property
    def sidecar(self) -> pathlib.PurePosixPath:
        """Of the result."""
        return self.result.with_name(self.result.name.split(".")[0] + ".json")

    @property
    def figure(self) -> pathlib.PurePosixPath:
        """The picture of before and after."""
        return pathlib.PurePosixPath(FOLDER, "figures", self.result.name.split(".")[0] + ".png")


def write_pages(out: pathlib.Path, rows: Sequence[Row]) -> pathlib.Path:
    """Writes the summary and the participants' pages, of these scans and of those that were made before.

    Returns:
        The path of the summary.
    """
    rows = sorted({row.result: row for row in (*_made(out), *rows)}.values(), key=_order)
    participants = list(dict.fromkeys(row.participant for row in rows))
    for participant in participants:
        own = [row for row in rows if row.participant == participant]
        scans = [{"row": row, "facts": _facts(out, row), "figure": _figure(out, row)} for row in own]
        write_text(
            out / FOLDER / f"{participant}.html", _rendered("participant.html", name=participant, scans=scans)
        )
    counts = {
        state: sum(row.state == state for row in rows) for state in ("done", "failed", "left out", "not made")
    }
    path = out / FOLDER / SUMMARY
    write_text(path, _rendered("summary.html", rows=rows, counts=counts, participants=len(participants)))
    return path


def _order(row: Row) -> Any:
    return natural_key(str(row.place))


def _made(out: pathlib.Path) -> Iterable[Row]:
    """The scans whose results stand there."""
    for path in out.glob("sub-*/**/anat/*_desc-sr_*.json"):
        result = path.with_name(f"{path.stem}.nii.gz")
        content = read_sidecar(path)
        if result.is_file() and content.get("Sources"):
            place = pathlib.PurePosixPath(str(content["Sources"][0]).rpartition(":")[2])
            yield Row(place, pathlib.PurePosixPath(result.relative_to(out).as_posix()), done=True)


def _facts(out: pathlib.Path, row: Row) -> dict[str, str]:
    """What the page says of a result."""
    if not row.done:
        return {}
    content = read_sidecar(out / row.sidecar)
    done = content.get("SuperResolution", {})
    return {
        "Resolution": content.get("Resolution", ""),
        "Model": f"{done.get('Model', '')}, keras-mrisr {done.get('Version', '')}",
        "Verdict": done.get("Verdict", ""),
    }


def _figure(out: pathlib.Path, row: Row) -> str:
    return f"figures/{row.figure.name}" if row.done and (out / row.figure).is_file() else ""


def read_sidecar(path: pathlib.Path) -> dict[str, Any]:
    """The object in a sidecar; an empty one where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _rendered(template: str, **content: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    css = (TEMPLATES / "bids.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(content, css=css, version=__version__)
