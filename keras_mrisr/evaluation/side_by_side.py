"""The figure of a paper: one slice upscaled by several methods, side by side, with a part of it magnified."""

import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr.checks import check
from keras_mrisr.data import read_image
from keras_mrisr.data.images import IMAGE_SUFFIXES
from keras_mrisr.data.neighbours import window
from keras_mrisr.data.slices import natural_key
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ConfigError, DataError, MrisrError
from keras_mrisr.evaluation.compatibility import check_names, choose_degradation, split_of
from keras_mrisr.evaluation.methods import Interpolator, Model, Trained, on_the_dial
from keras_mrisr.evaluation.patients import seen_by
from keras_mrisr.evaluation.slices import to_8bit
from keras_mrisr.evaluation.views import detail_box, quality
from keras_mrisr.files import check_new_file, check_not_source, whole_file
from keras_mrisr.types import PathLike

log = logging.getLogger(__name__)

Box = tuple[int, int, int, int]
"""(x, y, width, height) in pixels."""
Numbers = tuple[float, float]
"""(PSNR in dB, SSIM)."""

FORMATS = (".png", ".pdf", ".svg", ".tif", ".tiff")
_PANEL = 1.75  # Width of an image, in inches: six fill the two columns of a page.
_GAP, _HEAD, _FOOT, _NOTE = 0.06, 0.24, 0.34, 0.16
_FRAME = "#d9480f"
_FORMS = ("{:.2f} dB", "SSIM {:.4f}")


def compare_image(
    path: PathLike,
    models: Mapping[str, Any],
    out: PathLike,
    *,
    true_lr: bool = False,
    degradation: Degradation | str | dict[str, Any] | None = None,
    methods: Sequence[str] = ("bicubic",),
    region: Box | None = None,
    channel: int | None = None,
    ensemble: bool = False,
    perception: float | Sequence[float] = 0.0,
    dpi: int = 300,
    overwrite: bool = False,
) -> dict[str, Numbers]:
    """Writes a figure of one slice: a row of images with a box, and below it what is in the box.

    The columns are LR (its pixels upscaled), the interpolators, the models and, unless `true_lr`, the
    original. Numbers are PSNR and SSIM of the whole slice, data range 255, for what is shown. A line at the
    bottom, and a warning, say if the path names a patient whom a model was trained on or chosen by.

    Args:
        path: The image: HR, which is degraded by what the models were trained to undo, or LR. For models with
            neighbours the images of its folder are one stack, in the order of their names.
        models: Dict name -> path of a model directory, or an object as for `evaluate_models`.
        out: File to write; its ending says the format: .png, .pdf, .svg or .tif.
        true_lr: The image is LR itself: nothing is degraded and there is no original to compare with.
        degradation: A `Degradation`, its name, or a dictionary of `name` and options, to use instead of the
            models'.
        methods: Interpolators to show.
        region: (x, y, width, height) of the part that is magnified, in pixels of the large images; by
            default the square inside the tissue that has the most detail.
        channel: Show only this channel as grey; by default three channels are shown as colours.
        ensemble: Average the models over flips and quarter turns.
        perception: Of models with a GAN end, how far towards it, from 0 to 1, or several places on it.
        dpi: Dots per inch of an image file.
        overwrite: Replace an existing file.

    Returns:
        Dict method -> (PSNR in dB, SSIM); empty with `true_lr`.

    Raises:
        ConfigError: An argument is out of range, or the models do different tasks.
        ModelError: A model is not usable.
        DataError: The image is not usable, or the file exists or cannot be written.
    """
    out = pathlib.Path(out)
    _check_arguments(out, models, dpi, overwrite)
    check_not_source(out, path)
    places = on_the_dial(models, perception)
    trained = [Model(name, Trained.load(one, place), ensemble) for name, one, place in places]
    chosen, _ = choose_degradation(trained, degradation)
    scale = chosen.factors[0]
    plain = [Interpolator(name, scale) for name in dict.fromkeys(methods)]
    check_names(plain, trained)
    source = _Image(path, None if true_lr else chosen, trained)
    part = _part(path, channel, source.channels)
    images = {one.name: one.upscale(source.lr(one.neighbours))[..., part] for one in (*plain, *trained)}
    hr = None if source.hr is None else source.hr[..., part]
    numbers = {} if hr is None else _numbers(hr, images)
    lr = source.lr()[..., part].repeat(scale, axis=0).repeat(scale, axis=1)
    columns = {f"LR (x{scale} smaller)": lr, **images, **({} if hr is None else {"original": hr})}
    box = _box(region, next(iter(images.values())) if hr is None else hr)
    seen = " ".join(seen_by(path, {model.name: split_of(model.info) for model in trained}))
    if seen:
        log.warning("%s: %s Show a patient that no model has seen.", path, seen)
    with whole_file(out) as temporary:
        _draw(columns, numbers, box, seen, temporary, dpi)
    return numbers


def _check_arguments(out: pathlib.Path, models: Mapping[str, Any], dpi: int, overwrite: bool) -> None:
    if out.suffix.lower() not in FORMATS:
        raise DataError(f"{out} is no figure. Give a name that ends in {', '.join(FORMATS)}.")
    check_new_file(out, overwrite)
    check(20 <= dpi <= 1200, "`dpi`", dpi, "from 20 to 1200")
    if not models:
        raise ConfigError("Nothing to compare: give at least one `model`.")


def _part(path: PathLike, channel: int | None, channels: int) -> slice:
    """The channels that are shown."""
    if channel is None:
        return slice(None) if channels in (1, 3) else slice(0, 1)
    if not 0 <= channel < channels:
        raise ConfigError(f"{path} has {channels} channel(s), counted from 0. Received: channel={channel}")
    return slice(channel, channel + 1)


class _Image:
    """One image, degraded, with the neighbours that models take of it.

    Args:
        path: The image.
        degradation: What makes LR of it; None where it is LR itself.
        models: The `Model`s.

    Attributes:
        hr: uint8 (H, W, C), cut to a multiple of the scale; None where the image is LR.
        channels: C.
    """

    def __init__(self, path: PathLike, degradation: Degradation | None, models: Sequence[Model]) -> None:
        self.path = pathlib.Path(path)
        self._degradation = degradation
        image, model = read_image(self.path), models[0]
        self.channels = image.shape[-1]
        if self.channels != (model.info.image_channels or self.channels):
            raise DataError(
                f"{path} has {self.channels} channels, but {model.source} takes {model.info.channels}. "
                "Convert the image, or use a model for it."
            )
        self.hr, lr = self._reduce(image)
        stack = self._read_stack(image, max(one.neighbours for one in models))
        self._stack = [lr if one == self.path else self._reduce(each)[1] for one, each in stack]

    def lr(self, neighbours: int = 0) -> np.ndarray:
        """uint8 (h, w, (2 * neighbours + 1) * C)."""
        middle = len(self._stack) // 2
        return np.concatenate(self._stack[middle - neighbours : middle + neighbours + 1], axis=-1)

    def _reduce(self, image: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """(HR or None, LR) of an image."""
        image = to_8bit(image, image)
        if self._degradation is None:
            return None, image
        height, width = (size - size % self._degradation.factors[0] for size in image.shape[:2])
        hr = image[:height, :width]
        try:
            return hr, self._degradation.degrade(hr)
        except MrisrError as error:
            raise DataError(f"{self.path}: {error}") from error

    def _read_stack(self, image: np.ndarray, neighbours: int) -> list[tuple[pathlib.Path, np.ndarray]]:
        """List of (path, image): the one and those beside it in its folder, in the order of their names."""
        if not neighbours:
            return [(self.path, image)]
        around = self._around(neighbours)
        stack = [(path, image if path == self.path else read_image(path)) for path in around]
        alone = set(around) == {self.path}
        if alone or any((one.shape, one.dtype) != (image.shape, image.dtype) for _, one in stack):
            log.warning(
                "%s has no neighbours of its size and type in its folder: it stands in for them.", self.path
            )
            return [(self.path, image)] * len(stack)
        log.info("%s: its neighbours are %s", self.path, ", ".join(path.name for path, _ in stack))
        return stack

    def _around(self, neighbours: int) -> list[pathlib.Path]:
        """The paths of the slices around this one, and its own."""
        names = sorted((path.name for path in self.path.parent.iterdir()), key=natural_key)
        paths = [self.path.with_name(name) for name in names if name == self.path.name or _is_slice(name)]
        return [paths[place] for place in window(paths.index(self.path), len(paths), neighbours)]


def _is_slice(name: str) -> bool:
    stem, suffix = os.path.splitext(name.lower())
    return suffix in IMAGE_SUFFIXES and not stem.startswith(".") and not stem.endswith("_mask")


def _numbers(hr: np.ndarray, images: Mapping[str, np.ndarray]) -> dict[str, Numbers]:
    """Method -> (PSNR, SSIM)."""
    values = quality(hr.astype("float32"), [image.astype("float32") for image in images.values()])
    return dict(zip(images, values, strict=True))


def _box(region: Box | None, image: np.ndarray) -> Box:
    """(x, y, width, height) of the part to magnify."""
    if region is None:
        top, left, size = detail_box(image)
        return left, top, size, size
    x, y, width, height = region
    inside = 0 <= x < x + width <= image.shape[1] and 0 <= y < y + height <= image.shape[0]
    if not inside or min(width, height) < 2:
        raise ConfigError(
            f"The region {x},{y},{width},{height} (x,y,width,height) must lie inside the "
            f"{image.shape[1]} x {image.shape[0]} pixels and be 2 pixels or more."
        )
    return x, y, width, height


def _draw(
    columns: Mapping[str, np.ndarray],
    numbers: Mapping[str, Numbers],
    box: Box,
    note: str,
    path: pathlib.Path,
    dpi: int,
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    reference = list(columns.values())[-1]
    x, y, width, height = box
    heights = _PANEL * reference.shape[0] / reference.shape[1], _PANEL * height / width
    foot = (_FOOT if numbers else _GAP) + (_NOTE if note else 0)
    size = len(columns) * (_PANEL + _GAP) + _GAP, _HEAD + sum(heights) + _GAP + foot
    figure = Figure(figsize=size, dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    # One window for all, opened to the slice's own brightness.
    white = max(1.0, float(np.percentile(reference, 99.7)))
    for column, (name, image) in enumerate(columns.items()):
        left = _GAP + column * (_PANEL + _GAP)
        shown = np.clip(image / white, 0, 1)
        shown = shown[..., 0] if shown.shape[-1] == 1 else shown
        _write(figure, left + _PANEL / 2, _HEAD / 2, name, fontsize=8)
        axes = _show(figure, shown, left, _HEAD, heights[0])
        _outline(axes, (x - 0.5, y - 0.5, width, height))
        cut = shown[y : y + height, x : x + width]
        zoom = _show(figure, cut, left, _HEAD + heights[0] + _GAP, heights[1])
        _outline(zoom, (-0.5, -0.5, width, height), 1.6)
        if name in numbers:
            _write_numbers(figure, left + _PANEL / 2, _HEAD + sum(heights) + _GAP, name, numbers)
    if note:
        _write(figure, size[0] / 2, size[1] - _NOTE / 2, note, fontsize=6, color=_FRAME)
    figure.savefig(path, facecolor="white", dpi=dpi)


def _write_numbers(figure: Any, x: float, top: float, name: str, numbers: Mapping[str, Numbers]) -> None:
    """PSNR and SSIM below a column; the best of several are bold."""
    for line, value in enumerate(numbers[name]):
        best = value == max(each[line] for each in numbers.values()) and len(numbers) > 1
        words = _FORMS[line].format(value) if np.isfinite(value) else "equal"
        _write(figure, x, top + 0.1 + 0.13 * line, words, fontsize=7, weight="bold" if best else "normal")


def _write(figure: Any, x: float, y: float, words: str, **look: Any) -> None:
    """Writes words around a place in inches from the figure's top left. Names may have dollar signs."""
    width, height = figure.get_size_inches()
    look = {"ha": "center", "va": "center", "color": "black", "parse_math": False, **look}
    figure.text(x / width, 1 - y / height, words, **look)


def _show(figure: Any, image: np.ndarray, left: float, top: float, height: float) -> Any:
    """Axes with an image at a place in inches from the figure's top left."""
    total = figure.get_size_inches()
    axes = figure.add_axes(
        (left / total[0], 1 - (top + height) / total[1], _PANEL / total[0], height / total[1])
    )
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.axis("off")
    return axes


def _outline(axes: Any, place: tuple[float, float, float, float], width: float = 1.0) -> None:
    from matplotlib.patches import Rectangle

    x, y, wide, high = place
    axes.add_patch(Rectangle((x, y), wide, high, fill=False, edgecolor=_FRAME, linewidth=width))
