"""A page to look at a result: before and after in one HTML file that needs nothing else."""

import base64
import gzip
import hashlib
import pathlib
from typing import Any

import numpy as np

from keras_mrisr.errors import DataError
from keras_mrisr.files import check_new_file, write_text
from keras_mrisr.inference.page_images import image_content
from keras_mrisr.inference.page_volumes import LIMIT, volume_content
from keras_mrisr.types import PathLike
from keras_mrisr.version import __version__
from keras_mrisr.volumes import Volume

TEMPLATES = pathlib.Path(__file__).with_name("templates")
ENDINGS = (".html", ".htm")


def write_page(
    before: Volume,
    after: Volume,
    path: PathLike,
    *,
    uncertainty: Volume | None = None,
    model: str = "",
    verdict: str = "",
    overwrite: bool = False,
    limit: int = LIMIT,
) -> None:
    """Writes a page with the three orthogonal planes of a volume before and after.

    Both are shown where they lie in the world, with a linked crosshair, in 256 grey levels from the lowest
    value to a fifth above the 99.9th percentile. The difference from the cubic B-spline interpolation of
    `before` and, where it is given, the uncertainty can be laid over the result. NiiVue, which draws them, is
    in the page. Of the headers it holds sizes, spacings and places alone, beside the name of the file.

    Args:
        before: The measured volume.
        after: The result, on a grid over the same extent, finer along some axes.
        path: File to write, ending in .html.
        uncertainty: Standard deviations on the grid of `after`.
        model: The name of the model.
        verdict: What is known of how far the result can be relied on, in a sentence.
        overwrite: Replace an existing file.
        limit: Voxels of `after` above which only its central part is in the page, at full resolution.

    Raises:
        DataError: Another ending, the file exists or cannot be written, or the volumes cover
            different extents.
    """
    check_page(path, overwrite)
    content = volume_content(before, after, uncertainty, limit)
    write_text(path, _rendered(content, before.name, model, verdict))


def write_image_page(
    before: np.ndarray,
    after: np.ndarray,
    path: PathLike,
    *,
    name: str = "the image",
    model: str = "",
    verdict: str = "",
    overwrite: bool = False,
) -> None:
    """Writes a page of an image (h, w, C) and its result (H, W, C); see `write_page`."""
    check_page(path, overwrite)
    write_text(path, _rendered(image_content(before, after), name, model, verdict))


def check_page(path: PathLike, overwrite: bool = False) -> None:
    """Raises DataError unless a page can be written under this name."""
    if pathlib.Path(path).suffix.lower() not in ENDINGS:
        raise DataError(f"{path} is no page that can be written. End it in .html.")
    check_new_file(path, overwrite)


def _rendered(content: dict[str, Any], name: str, model: str, verdict: str) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    volumes = content["data"]["kind"] == "volume"
    scripts = [_text("volumes.js" if volumes else "images.js"), _text("page.js")]
    if volumes:
        packed = (TEMPLATES / "niivue" / "niivue.umd.js.gz").read_bytes()
        scripts.insert(0, gzip.decompress(packed).decode("utf-8"))
    return environment.get_template("page.html").render(
        content,
        css=_text("page.css"),
        scripts=scripts,
        # Only these scripts may run, and nothing can be loaded from outside.
        allowed=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
        licence=_text("niivue/LICENSE") if volumes else "",
        name=pathlib.PurePath(name).name,  # Its folder may name a person, and the page is handed on.
        model=model,
        verdict=verdict,
        version=__version__,
    )


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
