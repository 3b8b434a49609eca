"""The metrics that an evaluation can take: their names, definitions, and which end is the good one."""

import dataclasses
from collections.abc import Sequence

from keras_mrisr.errors import DataError


@dataclasses.dataclass(frozen=True)
class Measure:
    """One metric as it stands in tables and files.

    Attributes:
        name: Key in files: "psnr".
        title: Name for people.
        definition: One line that says how it is computed; part of the protocol.
        higher: Larger values are better.
        digits: Decimals in tables.
        unit: "dB", or empty.
        ratio: Names of two values of each image, numerator and denominator, if this is their ratio:
            a patient's value is then the ratio of the sums over the patient (Dice over a volume, for
            one), not the mean of the images' ratios.
    """

    name: str
    title: str
    definition: str
    higher: bool
    digits: int = 4
    unit: str = ""
    ratio: tuple[str, str] | None = None

    @property
    def heading(self) -> str:
        """Title with the unit: "PSNR dB"."""
        return f"{self.title} {self.unit}".rstrip()


_ALL = (
    Measure(
        "psnr", "PSNR", "of the mean squared error over the image's pixels and channels", True, 2, "dB"
    ),
    Measure(
        "ssim", "SSIM",
        "Gaussian window 11x11, sigma 1.5, mean over channels (Wang et al. 2004; scikit-image)", True,
    ),
    Measure(
        "ms_ssim", "MS-SSIM",
        "five scales with the weights of Wang et al. 2003 (tf.image.ssim_multiscale); below 161 pixels the "
        "first ones that fit, weights brought to a sum of 1", True,
    ),
    Measure("nrmse", "NRMSE", "|SR - HR| / |HR|, Euclidean norms (scikit-image)", False),
    Measure(
        "hfen", "HFEN",
        "|LoG(SR - HR)| / |LoG(HR)|, 15x15 Laplacian of a Gaussian of sigma 1.5 (Ravishankar and Bresler "
        "2011), divided by the original's norm", False,
    ),
    Measure(
        "gmsd", "GMSD",
        "standard deviation of the gradient magnitude similarity (Xue et al. 2014; piq), each channel for "
        "itself, then their mean", False,
    ),
    Measure(
        "consistency", "residual",
        "root mean square of degrade(SR) - LR in grey levels of 0..255, both rounded to 8 bit", False, 2,
    ),
    Measure("features", "VGG distance", "mean squared difference of features / 12.75", False),
    Measure("lpips", "LPIPS", "Zhang et al. 2018, package lpips, AlexNet", False),
    Measure("lpips_vgg", "LPIPS-VGG", "Zhang et al. 2018, package piq, VGG16", False),
    Measure("dists", "DISTS", "Ding et al. 2020, package piq, VGG16", False),
)  # fmt: skip
MEASURES = {measure.name: measure for measure in _ALL}
DEFAULT = ("psnr", "ssim", "ms_ssim", "nrmse", "hfen", "gmsd", "consistency")


def choose_measures(names: Sequence[str] | None = None) -> tuple[Measure, ...]:
    """`Measure`s by name.

    Args:
        names: Sequence of keys of `MEASURES`, or None for the default ones: all that need no network.

    Raises:
        DataError: Unknown name, or none.
    """
    names = DEFAULT if names is None else tuple(dict.fromkeys(names))
    for name in names:
        if name not in MEASURES:
            raise DataError(f"Unknown metric {name!r}. Known: {', '.join(MEASURES)}.")
    if not names:
        raise DataError(f"No metrics. Choose some of {', '.join(MEASURES)}.")
    return tuple(MEASURES[name] for name in names)
