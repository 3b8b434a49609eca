"""What a picture of a case shows: planes for display, errors, numbers, and where the detail is."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_mrisr.evaluation.regions import tissue_mask

INSET = 0.38
"""Side of an inset, as a share of the image's shorter side."""


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One row of the figure; all arrays uint8 (H, W, C), `lr` smaller by a factor for each axis.

    Attributes:
        label: Whose slice it is.
        hr: The original.
        lr: What it was degraded to.
        images: Method -> `lr` upscaled by it; the first one is the baseline, an interpolation.
        mask: Region to outline, bool (H, W), or None.
        channel: The channel that is shown as grey.
        channel_name: Its name, for the numbers.
    """

    label: str
    hr: np.ndarray
    lr: np.ndarray
    images: dict[str, np.ndarray]
    mask: np.ndarray | None = None
    channel: int = 0
    channel_name: str = "grey"


class CaseView:
    """A `Case` made ready to be shown.

    Args:
        case: The `Case`.
        rgb: Show three channels as colours instead of one as grey.

    Attributes:
        scale: Between LR and HR, for a person: "2", or "4x1" where the axes differ.
        lr: LR for display, float in [0, 1], on its own grid.
        images: For display, float in [0, 1]: LR upscaled by repeating pixels, every method, the original.
        errors: Absolute error of every method in grey levels, (H, W).
        numbers: (PSNR in dB, SSIM) of every method in the channel that is shown.
        captions: A line for each of `images` and of `errors`.
        box: (top, left, size) of the part with the most detail.
        corner: (bottom, right): where an inset hides the least tissue.
    """

    def __init__(self, case: Case, rgb: bool) -> None:
        self.case = case
        self.hr = case.hr
        factors = (large / small for large, small in zip(self.hr.shape[:2], case.lr.shape[:2], strict=True))
        self.scale = "x".join(dict.fromkeys(f"{factor:.3g}" for factor in factors))
        colours = rgb and case.hr.shape[-1] == 3
        part = slice(0, 3) if colours else slice(case.channel, case.channel + 1)
        places = _nearest(case.lr.shape[:2], self.hr.shape[:2])
        lr = case.lr[places]
        images = [image[..., part].astype("float32") for image in (lr, *case.images.values(), case.hr)]
        # One window for the row, opened to the slice's own brightness: LGG slices are dim.
        white = max(1.0, float(np.percentile(images[-1], 99.7)))
        shown = [np.clip(image / white, 0, 1) for image in images]
        self.images = shown if colours else [image[..., 0] for image in shown]
        self.lr = np.clip(case.lr[..., part].astype("float32") / white, 0, 1)
        self.lr = self.lr if colours else self.lr[..., 0]
        self.errors = [np.abs(image - images[-1]).mean(axis=-1) for image in images[1:-1]]
        self.numbers = quality(images[-1], images[1:-1])
        self.captions = self._captions("RGB" if colours else case.channel_name)
        self.box = detail_box(case.hr[..., part])
        self.corner = free_corner(case.hr[..., part], self.box)

    def _captions(self, channel: str) -> list[str]:
        height, width = self.hr.shape[:2]
        return [
            "{1} x {0} pixels".format(*self.case.lr.shape),
            *(_caption(*numbers) for numbers in self.numbers),
            f"{channel}, {width} x {height} pixels",
            *(f"mean {error.mean():.2f}" for error in self.errors),
        ]


def _nearest(small: tuple[int, ...], large: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Indices that repeat the pixels of an image so that it has another size."""
    return np.ix_(*((2 * np.arange(n) + 1) * m // (2 * n) for m, n in zip(small, large, strict=True)))


def detail_box(hr: np.ndarray) -> tuple[int, int, int]:
    """Finds the square with the most detail, inside the tissue where there is some.

    Args:
        hr: Array (H, W, C), uint8.

    Returns:
        (top, left, size) in pixels; the size is a fifth of the shorter side.
    """
    from scipy import ndimage

    plane = hr.astype("float32").mean(axis=-1)
    size = min(*plane.shape, max(4, min(plane.shape) // 5))
    # Well inside: scalp fat is the sharpest edge of a slice, and nobody's question.
    depth = ndimage.distance_transform_edt(np.pad(tissue_mask(hr / np.float32(255)), 1))[1:-1, 1:-1]
    inside = depth > 0.75 * size
    energy = ndimage.gaussian_gradient_magnitude(plane, 1.0)
    energy = ndimage.uniform_filter(energy, size, mode="constant")
    half = size // 2
    valid = np.zeros(plane.shape, bool)
    valid[half : plane.shape[0] - (size - half) + 1, half : plane.shape[1] - (size - half) + 1] = True
    allowed = valid & inside if (valid & inside).any() else valid
    top, left = np.unravel_index(np.argmax(np.where(allowed, energy, -1)), plane.shape)
    return int(top) - half, int(left) - half, size


def free_corner(hr: np.ndarray, box: tuple[int, int, int]) -> tuple[bool, bool]:
    """(bottom, right): the corner where an inset hides the least tissue, and nothing of the box."""
    mask = tissue_mask(hr / np.float32(255)).astype(int)
    top, left, size = box
    mask[top : top + size, left : left + size] = 100
    side = int(INSET * min(mask.shape)) + 2
    corners = [(bottom, right) for bottom in (True, False) for right in (True, False)]
    cut = {True: slice(-side, None), False: slice(0, side)}
    return min(corners, key=lambda corner: mask[cut[corner[0]], cut[corner[1]]].sum())


def quality(hr: np.ndarray, images: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """(PSNR in dB, SSIM) of images against one original, all (H, W, C) in grey levels."""
    from keras import ops

    from keras_mrisr.metrics import psnr, ssim

    pairs = np.stack([hr] * len(images)), np.stack(images)
    values = (ops.convert_to_numpy(metric(*pairs, 255.0)).tolist() for metric in (psnr, ssim))
    return list(zip(*values, strict=True))


def _caption(psnr: float, ssim: float) -> str:
    equal = psnr == float("inf")
    return "equal to the original" if equal else f"{psnr:.2f} dB · SSIM {ssim:.4f}"


def peak_error(views: Sequence[CaseView]) -> float:
    """Upper end of one error scale for several views: the 99.5th percentile of the first method's errors.

    Not the maximum, so that single pixels don't set it.
    """
    return max(1.0, float(np.percentile(np.concatenate([view.errors[0].ravel() for view in views]), 99.5)))
