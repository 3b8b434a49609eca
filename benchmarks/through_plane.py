"""What does a model for thick slices gain over cubic B-splines on volumes that trained nothing?

    python benchmarks/through_plane.py [--model thick] [--volume T1.nii.gz] [--mask BRAIN.nii.gz]
        [--merge] [--adapt 5]

Makes thick slices of the ICBM152 T1 template at 1 mm (nilearn's) and of --volume along --axis: Gaussian
profile, full width at half maximum equal to the spacing, at several factors, and at 4 with a gap of a
fifth. PSNR inside the mask, in float, data range 0 to the 99.9th percentile. With --merge also, at factor 4:
either family of planes alone, and Fourier burst accumulation of both (Delbracio and Sapiro 2015) instead of
their mean. With --adapt, at each factor without a gap, also the model trained further on the thick slices
themselves, as `mrisr upscale --adapt` does.
"""

import argparse
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nibabel
import numpy as np

from keras_mrisr.evaluation.through_plane.methods import Interpolator, Model
from keras_mrisr.evaluation.through_plane.options import ThroughPlaneOptions
from keras_mrisr.evaluation.through_plane.volumes import (
    Masks,
    choose_axes,
    find_volumes,
    read_thin,
    thicken,
)
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver
from keras_mrisr.training.adapt import adapt


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="thick")
    parser.add_argument("--volume", help="NIfTI of thin slices")
    parser.add_argument("--mask", help="of --volume (default: tissue)")
    parser.add_argument("--axis", default="axial")
    parser.add_argument("--factors", type=float, nargs="+", default=[2, 3, 4, 6, 6.67, 8])
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--adapt", type=duration, default={}, metavar="MINUTES", help="or steps=N")
    options = parser.parse_args()
    resolver = ThroughPlaneResolver.load(options.model)
    with tempfile.TemporaryDirectory() as folder:
        volumes = [(template(folder), None)]
        if options.volume:
            volumes.append((options.volume, options.mask))
        for path, mask in volumes:
            _table(path, mask, resolver, options)


def template(folder):
    """The ICBM152 template, which nilearn holds cut to the brain."""
    from nilearn.datasets import load_mni152_template

    path = os.path.join(folder, "icbm152.nii.gz")
    nibabel.save(load_mni152_template(resolution=1), path)
    return path


def _table(path, mask, resolver, options):
    dataset = find_volumes(path)
    [record] = dataset.slices
    volume = read_thin(record)
    inside = Masks(mask, dataset.root, 1)(record, volume)
    [axis] = choose_axes(volume, options.axis)
    print(f"\n{record.name}, {volume.shape}, {100 * inside.mean():.0f} % in the mask, {options.axis} slices")
    print("factor  gap  cubic dB  model dB    gain", flush=True)
    spline, model = Interpolator("cubic"), Model("model", resolver)
    for factor, gap in [*((factor, 0.0) for factor in options.factors), (4.0, 0.2)]:
        case = thicken(record, volume, inside, axis, factor, ThroughPlaneOptions(gap=gap))
        low, high = (psnr(case, method(case)) for method in (spline, model))
        print(f"{factor:6g}  {gap:3g}  {low:8.2f}  {high:8.2f}  {high - low:+6.2f}", flush=True)
        if options.adapt and not gap:
            adapted, done = adapt(
                resolver, case.lr, **options.adapt, axis=axis, factor=factor, thickness=case.thickness
            )
            gain = psnr(case, Model("adapted", adapted)(case)) - high
            print(f"  {done.sentence} On the volume: {gain:+.2f} dB over the model.", flush=True)
    if options.merge:
        _merges(thicken(record, volume, inside, axis, 4.0, ThroughPlaneOptions()), resolver)


def duration(text):
    """What `adapt` takes: minutes, or steps=N."""
    return {"steps": int(text[6:])} if text.startswith("steps=") else {"minutes": float(text)}


def psnr(case, sr):
    square = np.square(case.scaled(sr) - case.scaled(case.hr.array))
    return -10 * np.log10(square[case.mask].mean(dtype="float64"))


def _merges(case, resolver):
    """Both families of planes by themselves and merged."""
    unit = case.scaled(case.lr.array)
    names, families = [], []
    for family in (axis for axis in range(3) if axis != case.axis):
        order = (family, case.axis, 3 - case.axis - family)
        planes = np.ascontiguousarray(np.transpose(unit, order))
        together = resolver.planes_together(planes.shape[1], case.lines, planes.shape[2])
        parts = [
            resolver.restore(planes[first : first + together], case.lines, case.thickness)
            for first in range(0, len(planes), together)
        ]
        families.append(np.transpose(np.concatenate(parts), np.argsort(order)))
        names.append(f"planes across axis {family} alone")
    merged = dict(zip(names, families, strict=True)) | {"mean of both": sum(families) / 2}
    for power in (1, 2, 4, 8):
        merged[f"Fourier burst accumulation, p = {power}"] = burst_accumulation(families, power)
    for name, sr in merged.items():
        print(f"  {name:38s} {psnr(case, sr * case.white):.2f} dB", flush=True)


def burst_accumulation(volumes, power):
    """Fourier coefficients averaged with weights of their magnitudes to a power."""
    spectra = [np.fft.rfftn(volume).astype("complex64") for volume in volumes]
    largest = np.maximum.reduce([np.abs(one) for one in spectra]) + 1e-12
    weights = [(np.abs(one) / largest) ** power for one in spectra]
    total = sum(weight * one for weight, one in zip(weights, spectra, strict=True)) / sum(weights)
    return np.fft.irfftn(total, volumes[0].shape, axes=(0, 1, 2)).astype("float32")


if __name__ == "__main__":
    main()
