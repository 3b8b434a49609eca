"""What does a model bring on images that were made small in many ways? And does it ever do harm?

    python benchmarks/degradations.py --model any-x2 --data kaggle_3m --volumes HEAD.nii.gz \\
        --others kspace-x2 lgg-x2-bicubic --out runs/degradations

FLAIR slices (channel 1) of the patients that --model holds out, and slices of volumes of other scanners in
the plane of their acquisition, are degraded whole in each of the ways below, upscaled by the models and by
bicubic, Lanczos and zero-filling, and compared with the original: PSNR in dB, mean over slices; data_range is
255, of volumes their 99.9th percentile. LR and results are 8-bit for LGG, 16-bit for volumes. Prints a table
for each set of images: gain over the best interpolation, and "harm" where that is below -0.05 dB.
"""

import argparse
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from keras_mrisr.data import Split, read_dataset
from keras_mrisr.data.normalize import volume_normalizer
from keras_mrisr.degrade import interpolate
from keras_mrisr.degrade.acquisition import Acquisition
from keras_mrisr.degrade.registry import get_degradation
from keras_mrisr.export.onnx_resolver import OnnxSuperResolver
from keras_mrisr.files import write_json, write_text
from keras_mrisr.pretrained import find_model
from keras_mrisr.volumes import read_volume
from keras_mrisr.volumes.geometry import slice_axis

PLAIN = ("bicubic", "lanczos", "zero-filled")
HARM = -0.05  # dB
FLAIR = 1  # Of the channels of a LGG slice.
WHITE = 20000  # Of a volume's slices in 16 bits, so that the brightest vessels fit.


class WithNoise(Acquisition):
    """A crop of k-space and Rician noise of 4/255 of white, for slices of any brightness."""

    def degrade(self, hr):
        lr = super().degrade(hr).astype("float64")
        white = 255 if hr.dtype == np.uint8 else WHITE
        real, imaginary = np.random.default_rng(0).normal(0, 4 / 255 * white, (2, *lr.shape))
        return np.rint(np.hypot(lr + real, imaginary)).clip(0, np.iinfo(hr.dtype).max).astype(hr.dtype)


def ways(scale):
    """{what is said of it: the degradation}."""
    return {
        "k-space crop, no window": Acquisition(scale),
        "k-space crop, Hamming": Acquisition(scale, "hamming"),
        "Hann": Acquisition(scale, "hann"),
        "Kaiser (4)": Acquisition(scale, "kaiser", 4.0),
        "Tukey (0.5)": Acquisition(scale, "tukey", 0.5),
        "Fermi": Acquisition(scale, "fermi"),
        "elliptical support": Acquisition(scale, ellipse=True),
        "partial Fourier, 75 % of the lines": Acquisition(scale, partial=0.75),
        "zero-filled 1.5 times by the scanner": Acquisition(scale, filled=1.5),
        "resized, bicubic": Acquisition(scale, resampled="bicubic"),
        "resized, Lanczos": Acquisition(scale, resampled="lanczos"),
        "blur of radius 1, resized": Acquisition(scale, resampled="bicubic", sigma=1.0),
        "blur of radius 2, resized": Acquisition(scale, resampled="bicubic", sigma=2.0),
        "`paper`": get_degradation("paper", scale),
        "k-space crop, Rician noise of 4 grey levels": WithNoise(scale),
        "k-space crop, Rician noise of SNR 20": Acquisition(scale, snr=20.0),
        "k-space crop, Hamming, its noise of SNR 20 as soft": Acquisition(
            scale, "hamming", snr=20.0, colored_noise=True
        ),
        "zero-filled 1.5 times along the rows, its noise of SNR 20 as soft": Acquisition(
            scale, filled=(1.5, 1.0), snr=20.0, colored_noise=True
        ),
        "blur of radius 1, resized, its noise of SNR 20 as soft": Acquisition(
            scale, resampled="bicubic", sigma=1.0, snr=20.0, colored_noise=True
        ),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="any-x2", help="of one channel")
    parser.add_argument("--others", nargs="*", default=[], help="specialists, scored beside it")
    parser.add_argument("--data", help="folder of the LGG slices")
    parser.add_argument("--volumes", nargs="*", default=[], help="NIfTI of other scanners")
    parser.add_argument("--ways", nargs="*", default=[], help="only degradations whose name has such words")
    parser.add_argument("--per-patient", type=int, default=2, help="slices of each held-out patient")
    parser.add_argument("--per-volume", type=int, default=6, help="slices of each volume")
    parser.add_argument("--out", type=pathlib.Path, help="folder for the table and the numbers")
    options = parser.parse_args()
    models = {name: load(name) for name in (options.model, *options.others)}
    sets = {}
    if options.data:
        slices = held_out_slices(options.data, options.per_patient, find_model(options.model))
        sets["FLAIR of held-out patients"] = slices
    sets.update(
        {pathlib.Path(path).name: volume_slices(path, options.per_volume) for path in options.volumes}
    )
    found, lines = {}, []
    for name, slices in sets.items():
        found[name] = score_all(slices, models, options.ways)
        lines += table(name, slices, found[name], list(models))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        write_json(options.out / "degradations.json", found)
        write_text(options.out / "degradations.md", "\n".join(lines) + "\n")


def held_out_slices(root, per_patient, model):
    """8-bit RGB slices of the patients that trained none of the model and chose none of its epochs."""
    split = Split.from_dict(json.loads((model / "model.json").read_text())["data"]["split"])
    dataset = read_dataset(root)
    slices = []
    for patient, stack in dataset.by_patient().items():
        if split.part_of(patient) == "test":
            slices += [dataset.read(stack[i]) for i in _middle(len(stack), per_patient)]
    return slices


def volume_slices(path, count):
    """16-bit slices (H, W, 1) in the plane of acquisition, white where the volume's 99.9th percentile is."""
    volume = read_volume(path)
    planes = np.moveaxis(volume.array, slice_axis(volume), 0)
    unit = volume_normalizer(volume.array)
    return [
        np.rint(unit.normalize(planes[i]).clip(0, 1) * WHITE).astype("uint16")[..., np.newaxis]
        for i in _middle(len(planes), count)
    ]


def _middle(size, count):
    """So many places in the middle half of a stack."""
    return np.rint(np.linspace(0.25, 0.75, count) * (size - 1)).astype(int)


def load(name):
    """A model by onnxruntime where it has such a file, else by Keras."""
    folder = find_model(name)
    if (folder / "model.onnx").is_file():
        resolver = OnnxSuperResolver.load(folder)
    else:
        from keras_mrisr.inference import SuperResolver

        resolver = SuperResolver.load(name)
    resolver.warns = False
    return resolver


def score_all(slices, models, words=()):
    """{degradation: {method: mean PSNR in dB}}, of those whose name has one of the words."""
    scale = next(iter(models.values())).info.scale
    found = {}
    for name, degradation in ways(scale).items():
        if words and not any(word in name for word in words):
            continue
        rows = [_scores(hr, degradation, models) for hr in slices]
        found[name] = {method: float(np.mean([row[method] for row in rows])) for method in rows[0]}
        print(
            f"  {name}: " + ", ".join(f"{key} {value:.2f}" for key, value in found[name].items()), flush=True
        )
    return found


def _scores(hr, degradation, models):
    """{method: PSNR of one channel of one slice}."""
    scale = degradation.scale
    hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
    white = 255 if hr.dtype == np.uint8 else WHITE
    channel = min(FLAIR, hr.shape[-1] - 1)
    lr = degradation.degrade(hr)
    images = {method: interpolate(lr, scale, method)[..., channel] for method in PLAIN}
    for name, model in models.items():
        images[name] = (
            model(lr[..., channel : channel + 1])[..., 0]
            if model.info.image_channels in (None, 1) else model(lr)[..., channel]
        )  # fmt: skip
    original = hr[..., channel].astype("float64")
    return {
        name: 20 * np.log10(white) - 10 * np.log10(np.mean((image.clip(0, white) - original) ** 2))
        for name, image in images.items()
    }


def table(name, slices, found, models):
    """Lines of Markdown."""
    shape = " x ".join(map(str, slices[0].shape[:2]))
    lines = [
        f"{name}, {len(slices)} slices of {shape} px:", "",
        f"| LR made by | best of {', '.join(PLAIN)} | " + " | ".join([models[0], "gain", *models[1:]]) + " |",
        "|" + "---|" * (len(models) + 3),
    ]  # fmt: skip
    for way, scores in found.items():
        best = max(PLAIN, key=scores.get)
        gain = scores[models[0]] - scores[best]
        cells = [f"{scores[best]:.2f} ({best})", f"{scores[models[0]]:.2f}"]
        cells += [f"{gain:+.2f}" + (" (harm)" if gain < HARM else "")]
        cells += [f"{scores[one]:.2f}" for one in models[1:]]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    print("\n".join(lines), flush=True)
    return [*lines, ""]


if __name__ == "__main__":
    main()
