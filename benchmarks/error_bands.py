"""Where is the error: at frequencies that LR has, or at those that it has not?

    python benchmarks/error_bands.py --data kaggle_3m --models lgg-x2 runs/x2 [--part test]

Splits the mean squared error (grey levels of 255, RGB) of whole slices into the band of the LR grid and what
lies beyond it, for bicubic interpolation and for models, beside the energy that the original itself has
beyond the band: what a method that adds nothing there leaves behind. Within the band the 8 bits of LR hide
what a blur has damped; the last row is the linear bound there, the error of a Wiener filter that knows the
spectrum of these very slices and the rounding of LR (for blurs of the kind of `paper`).
"""

import argparse
import dataclasses
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from keras_mrisr import SuperResolver
from keras_mrisr.data import read_dataset
from keras_mrisr.data.pipeline import load_pairs
from keras_mrisr.degrade import get_degradation, interpolate


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--models", nargs="+", required=True, help="of slices of three channels, one task")
    parser.add_argument("--part", default="test", choices=("val", "test"))
    parser.add_argument("--slices", type=int, default=24)
    options = parser.parse_args()
    models = {name: SuperResolver.load(name) for name in options.models}
    info = next(iter(models.values())).info
    degradation = get_degradation(**info.degradation)
    dataset = read_dataset(options.data).select(info.data["split"][options.part])
    chosen = np.linspace(0, len(dataset) - 1, options.slices).astype(int)
    dataset = dataclasses.replace(dataset, slices=tuple(dataset.slices[i] for i in chosen))
    pairs = load_pairs(dataset, degradation)
    methods = {"bicubic": lambda pair: interpolate(pair.lr, degradation.scale, "bicubic")}
    methods |= {name: lambda pair, model=model: model(pair.lr) for name, model in models.items()}

    print(f"{len(pairs)} slices of {len(dataset.patients)} {options.part} patients, {degradation}")
    print("| method | in the band of LR | beyond it | both |\n|---|---|---|---|")
    for name, method in methods.items():
        inside, beyond = np.mean(
            [_bands(pair.hr - _float(method(pair)), degradation) for pair in pairs], axis=0
        )
        print(f"| {name} | {inside:.2f} | {beyond:.2f} | {inside + beyond:.2f} |", flush=True)
    beyond = np.mean([_bands(_float(pair.hr), degradation)[1] for pair in pairs])
    print(f"| (nothing beyond the band) | | {beyond:.2f} | |")
    print(f"| (linear bound) | {_wiener(pairs, degradation):.2f} | | |")


def _float(image):
    return image.astype("float64")


def _power(image):
    """Power of each frequency, mean over channels, (H, W)."""
    spectrum = np.fft.fft2(_float(image), axes=(0, 1)) / np.prod(image.shape[:2])
    return np.square(np.abs(spectrum)).mean(axis=-1)


def _inside(shape, scale):
    """Which frequencies the LR grid has."""
    y, x = (np.abs(np.fft.fftfreq(size)) for size in shape[:2])
    return np.maximum(y[:, np.newaxis], x) <= 0.5 / scale


def _bands(image, degradation):
    power = _power(image)
    inside = _inside(image.shape, degradation.scale)
    return power[inside].sum(), power[~inside].sum()


def _wiener(pairs, degradation):
    """Mean squared error in the band of the best linear filter that is the same for all slices."""
    shape = pairs[0].hr.shape
    signal = np.mean([_power(pair.hr) for pair in pairs if pair.hr.shape == shape], axis=0)
    point = np.zeros((*shape[:2], 1), "float32")
    point[shape[0] // 2, shape[1] // 2] = 1
    # The gain of each frequency in the band, from the response to a point.
    response = np.abs(np.fft.fft2(degradation.degrade(point)[..., 0])) * degradation.scale**2
    height, width = response.shape
    rows = np.fft.fftfreq(shape[0], 1 / shape[0]).astype(int)
    columns = np.fft.fftfreq(shape[1], 1 / shape[1]).astype(int)
    gain = response[np.ix_(rows % height, columns % width)]
    noise = 1 / 12 / (height * width)
    inside = _inside(shape, degradation.scale)
    return (signal * noise / (gain**2 * signal + noise))[inside].sum()


if __name__ == "__main__":
    main()
