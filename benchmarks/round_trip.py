"""A volume made smaller and upscaled again: what does a model bring back, against plain interpolation?

    python benchmarks/round_trip.py HEAD.nii.gz [MORE ...] --model kspace-x2 --out runs/round-trip

Every slice is degraded whole by what the model was trained to undo, in floating point; the result gets the
affine of its coarser grid, goes to disk as NIfTI and through `mrisr upscale`. Volumes must come back with
the affine they had. PSNR and SSIM are those of the volume's slices (mean per slice, whole slice and tissue,
data_range from 0 to the 99.9th percentile of the original), and the figure shows the middle slice of each.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nibabel
import numpy as np

from keras_mrisr.data.normalize import volume_normalizer
from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.evaluation.figure import comparison_figure
from keras_mrisr.evaluation.regions import tissue_mask
from keras_mrisr.evaluation.views import Case
from keras_mrisr.inference import SuperResolver
from keras_mrisr.metrics import psnr, ssim
from keras_mrisr.volumes import Volume, read_volume, write_volume
from keras_mrisr.volumes.geometry import scaled_affine, slice_axis

PLAIN = ("bicubic", "lanczos", "zero-filled")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("volumes", nargs="+", help="NIfTI files, or folders of a DICOM series")
    parser.add_argument("--model", required=True, help="of slices of one channel")
    parser.add_argument("--out", type=pathlib.Path, help="folder for the figure and the table")
    parser.add_argument("--slices", type=int, default=24, help="slices that are scored, evenly spread")
    parser.add_argument("--options", nargs="*", default=[], help="for mrisr upscale: consistency ensemble")
    options = parser.parse_args()
    info = SuperResolver.load(options.model).info
    degradation = get_degradation(**info.degradation)
    lines = [
        f"{options.model} ({degradation}), at most {options.slices} slices each; PSNR in dB / SSIM.",
        "",
        "| volume | region | " + " | ".join([*PLAIN, "SR", "SR - zero-filled"]) + " |",
        "|" + "---|" * (len(PLAIN) + 4),
    ]
    print("\n".join(lines), flush=True)
    cases = []
    for path in options.volumes:
        rows, case = round_trip(path, options, degradation)
        cases.append(case)
        lines += rows
        print("\n".join(rows), flush=True)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        comparison_figure(cases, options.out / "round_trip.png")
        (options.out / "round_trip.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def round_trip(path, options, degradation):
    """(rows of the table, `Case` of the middle slice)."""
    volume = read_volume(path)
    axis, scale = slice_axis(volume), degradation.scale
    stack = np.moveaxis(volume.array, axis, 2)
    stack = stack[tuple(slice(size // scale * scale) for size in stack.shape[:2])].astype("float32")
    small = np.stack([_degrade(stack[:, :, z], degradation) for z in range(stack.shape[2])], axis=2)
    factors = np.insert(np.full(2, 1.0 / scale), axis, 1.0)
    lr = Volume(np.moveaxis(small, 2, axis), scaled_affine(volume.affine, factors), name=str(path))
    sr = np.moveaxis(_upscaled(lr, volume.affine, options), axis, 2)
    unit = volume_normalizer(volume.array).normalize
    full = [z for z in range(stack.shape[2]) if stack[:, :, z].max() > stack[:, :, z].min()]
    chosen = [full[i] for i in np.linspace(0, len(full) - 1, min(options.slices, len(full))).astype(int)]
    scores = {}
    for z in chosen:
        hr = unit(stack[:, :, z])
        images = {name: _interpolate(small[:, :, z], scale, name) for name in PLAIN}
        images = {name: unit(image) for name, image in {**images, "SR": sr[:, :, z]}.items()}
        for region, mask in (("whole", None), ("tissue", tissue_mask(hr[..., None]))):
            for name, image in images.items():
                scores.setdefault((region, name), []).append(_scores(hr, image, mask))
        if z == chosen[len(chosen) // 2]:
            case = _case(pathlib.Path(path).name, hr, unit(small[:, :, z]), images)
    return [_row(pathlib.Path(path).name, region, scores) for region in ("whole", "tissue")], case


def _upscaled(lr, affine, options):
    """What the command makes of a volume, which must come to lie where `affine` says."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = (pathlib.Path(folder, name) for name in ("lr.nii.gz", "sr.nii.gz"))
        write_volume(lr, source)
        words = [sys.executable, "-m", "keras_mrisr", "upscale", source, target, "--model", options.model]
        words += [f"--{word}" for word in options.options]
        subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
        found = nibabel.load(target)
        np.testing.assert_allclose(found.affine, affine, atol=1e-4)
        return np.asarray(found.dataobj, "float32")


def _degrade(plane, degradation):
    return degradation.degrade(plane[..., None])[..., 0]


def _interpolate(plane, scale, method):
    return interpolate(plane[..., None], scale, method)[..., 0]


def _scores(hr, image, mask):
    mask = None if mask is None else mask[None].astype("float32")
    pair = hr[None, ..., None], np.clip(image, 0, None)[None, ..., None]
    return float(psnr(*pair, 1.0, mask=mask)[0]), float(ssim(*pair, 1.0, mask=mask)[0])


def _row(name, region, scores):
    means = {key: np.nanmean(values, axis=0) for key, values in scores.items()}
    cells = [f"{means[region, one][0]:.2f} / {means[region, one][1]:.4f}" for one in (*PLAIN, "SR")]
    gain = means[region, "SR"][0] - means[region, "zero-filled"][0]
    return f"| {name} | {region} | " + " | ".join([*cells, f"{gain:+.2f}"]) + " |"


def _case(name, hr, lr, images):
    def shown(image):
        return np.rint(np.clip(np.rot90(image), 0, 1) * 255).astype(np.uint8)[..., None]

    kept = {key: shown(images[key]) for key in ("zero-filled", "SR")}
    return Case(label=name, hr=shown(hr), lr=shown(lr), images=kept)


if __name__ == "__main__":
    main()
