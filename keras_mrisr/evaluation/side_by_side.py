"""The figure of a paper: one slice upscaled by several methods, side by side, with a part of it magnified."""

import logging
import os
import pathlib

import numpy as np

from keras_mrisr.data import read_image
from keras_mrisr.data.images import IMAGE_SUFFIXES
from keras_mrisr.data.neighbours import window
from keras_mrisr.data.slices import natural_key
from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.evaluation.compatibility import check_names, choose_degradation, split_of
from keras_mrisr.evaluation.methods import Interpolator, Model
from keras_mrisr.evaluation.patients import seen_by
from keras_mrisr.evaluation.slices import to_8bit
from keras_mrisr.evaluation.views import detail_box, quality
from keras_mrisr.files import whole_file

log = logging.getLogger(__name__)

FORMATS = (".png", ".pdf", ".svg", ".tif", ".tiff")
_PANEL = 1.75  # Width of an image, in inches: six fill the two columns of a page.
_GAP, _HEAD, _FOOT, _NOTE = 0.06, 0.24, 0.34, 0.16
_FRAME = "#d9480f"
_FORMS = ("{:.2f} dB", "SSIM {:.4f}")


def compare_image(
    path,
    models,
    out,
    *,
    true_lr=False,
    degradation=None,
    methods=("bicubic",),
    region=None,
    channel=None,
    ensemble=False,
    dpi=300,
    overwrite=False,
):
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
        dpi: Dots per inch of an image file.
        overwrite: Replace an existing file.

    Returns:
        Dict method -> (PSNR in dB, SSIM); empty with `true_lr`.

    Raises:
        DataError: A model or the image is not usable, the models do different tasks, the region lies
            outside, or the file exists or cannot be written.
    """
    out = pathlib.Path(out)
    if out.suffix.lower() not in FORMATS:
        raise DataError(f"{out} is no figure. Give a name that ends in {', '.join(FORMATS)}.")
    if out.exists() and not overwrite:
        raise DataError(f"{out} exists. Choose another name or pass `overwrite=True`.")
    if not 20 <= dpi <= 1200:
        raise DataError(f"dpi must be between 20 and 1200. Received: dpi={dpi}")
    if not models:
        raise DataError("Nothing to compare: give at least one model.")
    models = [Model(name, model, ensemble) for name, model in models.items()]
    degradation, _ = choose_degradation(models, degradation)
    plain = [Interpolator(name, degradation.scale) for name in dict.fromkeys(methods)]
    check_names(plain, models)
    source = _Image(path, degradation, true_lr, models)
    images = {one.name: one(source, source) for one in (*plain, *models)}
    channels = source.shape[-1]
    if channel is not None and not 0 <= channel < channels:
        raise DataError(f"{path} has {channels} channel(s), counted from 0. Received: channel={channel}")
    part = slice(None) if channel is None and channels in (1, 3) else slice(channel or 0, (channel or 0) + 1)
    hr = None if true_lr else source.hr(source)[..., part]
    images = {name: image[..., part] for name, image in images.items()}
    numbers = {} if hr is None else _numbers(hr, images)
    lr = source.lr(source)[..., part].repeat(degradation.scale, axis=0).repeat(degradation.scale, axis=1)
    columns = {f"LR (x{degradation.scale} smaller)": lr, **images}
    if hr is not None:
        columns["original"] = hr
    box = _box(region, next(iter(images.values())) if hr is None else hr)
    seen = " ".join(seen_by(path, {model.name: split_of(model.info) for model in models}))
    if seen:
        log.warning("%s: %s Show a patient that no model has seen.", path, seen)
    with whole_file(out) as temporary:
        _draw(columns, numbers, box, seen, temporary, dpi)
    return numbers


class _Image:
    """One image, with the neighbours that models take of it, in the place of a record and a `SliceReader`."""

    def __init__(self, path, degradation, true_lr, models):
        self.path = pathlib.Path(path)
        self._degradation = None if true_lr else degradation
        image, model = read_image(self.path), models[0]
        if image.shape[-1] != (model.info.image_channels or image.shape[-1]):
            raise DataError(
                f"{path} has {image.shape[-1]} channels, but {model.source} takes {model.info.channels}. "
                "Convert the image, or use a model for it."
            )
        self.shape = image.shape
        self._hr, lr = self._reduce(image)
        stack = self._read_stack(image, max(one.info.neighbours for one in models))
        self._stack = [lr if path == self.path else self._reduce(one)[1] for path, one in stack]

    def hr(self, record):
        return self._hr

    def lr(self, record, neighbours=0):
        middle = len(self._stack) // 2
        return np.concatenate(self._stack[middle - neighbours : middle + neighbours + 1], axis=-1)

    def _reduce(self, image):
        """(HR or None, LR) of an image."""
        image = to_8bit(image, image)
        if self._degradation is None:
            return None, image
        height, width = (size - size % self._degradation.scale for size in image.shape[:2])
        hr = image[:height, :width]
        try:
            return hr, self._degradation.degrade(hr)
        except MrisrError as error:
            raise DataError(f"{self.path}: {error}") from error

    def _read_stack(self, image, neighbours):
        """List of (path, image): the one and those beside it in its folder, in the order of their names."""
        if not neighbours:
            return [(self.path, image)]
        names = sorted((path.name for path in self.path.parent.iterdir()), key=natural_key)
        paths = [self.path.with_name(name) for name in names if name == self.path.name or _is_slice(name)]
        around = window(paths.index(self.path), len(paths), neighbours)
        stack = [(paths[i], image if paths[i] == self.path else read_image(paths[i])) for i in around]
        if len(paths) == 1 or any((one.shape, one.dtype) != (image.shape, image.dtype) for _, one in stack):
            log.warning(
                "%s has no neighbours of its size and type in its folder: it stands in for them.", self.path
            )
            return [(self.path, image)] * len(stack)
        log.info("%s: its neighbours are %s", self.path, ", ".join(path.name for path, _ in stack))
        return stack


def _is_slice(name):
    stem, suffix = os.path.splitext(name.lower())
    return suffix in IMAGE_SUFFIXES and not stem.startswith(".") and not stem.endswith("_mask")


def _numbers(hr, images):
    """Method -> (PSNR, SSIM)."""
    values = quality(hr.astype("float32"), [image.astype("float32") for image in images.values()])
    return dict(zip(images, values, strict=True))


def _box(region, image):
    """(x, y, width, height) of the part to magnify."""
    if region is None:
        top, left, size = detail_box(image)
        return left, top, size, size
    x, y, width, height = region
    inside = 0 <= x < x + width <= image.shape[1] and 0 <= y < y + height <= image.shape[0]
    if not inside or min(width, height) < 2:
        raise DataError(
            f"The region {x},{y},{width},{height} (x,y,width,height) must lie inside the "
            f"{image.shape[1]} x {image.shape[0]} pixels and be 2 pixels or more."
        )
    return x, y, width, height


def _draw(columns, numbers, box, note, path, dpi):
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
    best = [max((n[i] for n in numbers.values()), default=None) for i in range(2)]
    text = {"ha": "center", "va": "center", "color": "black", "parse_math": False}
    for column, (name, image) in enumerate(columns.items()):
        left, middle = _GAP + column * (_PANEL + _GAP), _GAP + _PANEL / 2 + column * (_PANEL + _GAP)
        shown = np.clip(image / white, 0, 1)
        shown = shown[..., 0] if shown.shape[-1] == 1 else shown
        figure.text(middle / size[0], 1 - _HEAD / 2 / size[1], name, fontsize=8, **text)
        axes = _show(figure, shown, left, _HEAD, heights[0])
        _outline(axes, (x - 0.5, y - 0.5, width, height))
        cut = shown[y : y + height, x : x + width]
        zoom = _show(figure, cut, left, _HEAD + heights[0] + _GAP, heights[1])
        _outline(zoom, (-0.5, -0.5, width, height), 1.6)
        for line, value in enumerate(numbers.get(name, ())):
            below = _HEAD + sum(heights) + _GAP + 0.1 + 0.13 * line
            weight = "bold" if value == best[line] and len(numbers) > 1 else "normal"
            words = _FORMS[line].format(value) if np.isfinite(value) else "equal"
            figure.text(middle / size[0], 1 - below / size[1], words, fontsize=7, weight=weight, **text)
    if note:
        figure.text(0.5, _NOTE / 2 / size[1], note, fontsize=6, **{**text, "color": _FRAME})
    figure.savefig(path, facecolor="white", dpi=dpi)


def _show(figure, image, left, top, height):
    """Axes with an image at a place in inches from the figure's top left."""
    total = figure.get_size_inches()
    axes = figure.add_axes(
        (left / total[0], 1 - (top + height) / total[1], _PANEL / total[0], height / total[1])
    )
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.axis("off")
    return axes


def _outline(axes, place, width=1.0):
    from matplotlib.patches import Rectangle

    x, y, wide, high = place
    axes.add_patch(Rectangle((x, y), wide, high, fill=False, edgecolor=_FRAME, linewidth=width))
