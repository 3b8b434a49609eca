"""What does a 3-D network gain that finishes both families of planes, over their mean?

    python benchmarks/finish.py TRAIN.nii.gz TEST.nii.gz [--model thick] [--set training.epochs=10]

TRAIN and TEST are volumes of thin slices, or "template" for the ICBM152 T1 template at 1 mm (nilearn's). The
network is trained on the first three quarters of TRAIN along its second axis and chosen on the last one. Of
TEST the --size voxels in the middle of each axis are made thick along --axis: Gaussian profile, full width at
half maximum equal to the spacing. PSNR in the tissue, in float, data range 0 to the 99.9th percentile.
"""

import argparse
import dataclasses
import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from through_plane import psnr, template

from keras_mrisr.config import parse_override
from keras_mrisr.data import Split
from keras_mrisr.data.normalize import volume_normalizer
from keras_mrisr.evaluation.through_plane.methods import Interpolator
from keras_mrisr.evaluation.through_plane.options import ThroughPlaneOptions
from keras_mrisr.evaluation.through_plane.volumes import (
    choose_axes,
    find_volumes,
    read_thin,
    thicken,
    tissue_mask,
    white_of,
)
from keras_mrisr.finish_config import FinishConfig
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver, restore_families
from keras_mrisr.training.finish import train_finish
from keras_mrisr.volumes import read_volume, write_volume

QUARTERS = {"train": (0, 3), "val": (3, 4)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--model", default="thick")
    parser.add_argument("--axis", default="axial")
    parser.add_argument("--size", type=int, default=176)
    parser.add_argument("--factors", type=float, nargs="+", default=[2, 4, 6.67])
    parser.add_argument("--out", help="folder to keep the trained model in")
    parser.add_argument("--set", metavar="KEY=VALUE", nargs="+", default=[], help="of `FinishConfig`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        train, test = (
            template(folder) if path == "template" else path for path in (options.train, options.test)
        )
        _table(test, ThroughPlaneResolver.load(_train(train, folder, options)), options)


def _train(path, folder, options):
    volume = read_volume(path)
    for name, ends in QUARTERS.items():
        cut = slice(*(volume.shape[1] * end // 4 for end in ends))
        (folder / "scans" / name).mkdir(parents=True)
        part = dataclasses.replace(volume, array=np.ascontiguousarray(volume.array[:, cut]))
        write_volume(part, folder / "scans" / name / "T1w.nii.gz")
    config = FinishConfig().replace({"data.root": str(folder / "scans"), "training.init": options.model})
    config = config.replace(dict(map(parse_override, options.set)))
    split = Split(train=("train",), val=("val",), test=())

    def report(epoch, step, logs):
        if step is None:
            print(f"epoch {epoch}: {logs['val_gain']:+.3f} dB over the mean, validation", flush=True)

    return train_finish(config, options.out or folder / "run", split=split, report=report)


def _table(path, resolver, options):
    [record] = find_volumes(path).slices
    volume = read_thin(record)
    middle = tuple(slice(max(0, (n - options.size) // 2), (n + options.size) // 2) for n in volume.shape)
    volume = dataclasses.replace(volume, array=volume.array[middle])
    inside = tissue_mask(volume.array, white_of(volume))
    [axis] = choose_axes(volume, options.axis)
    print(f"\n{record.name}, {volume.shape}, {100 * inside.mean():.0f} % in the mask")
    print("factor  cubic dB   mean dB  finish dB    gain", flush=True)
    for factor in options.factors:
        case = thicken(record, volume, inside, axis, factor, ThroughPlaneOptions())
        normalizer = volume_normalizer(case.lr.array)
        lr = normalizer.normalize(case.lr.array)
        families, _ = restore_families(resolver, lr, axis, case.lines, case.thickness)
        spline = psnr(case, Interpolator("cubic")(case))
        mean, finish = (
            psnr(case, normalizer.restore(one, "float32"))
            for one in (sum(families) / 2, resolver.finish(families, axis))
        )
        print(f"{factor:6g}  {spline:8.2f}  {mean:8.2f}   {finish:8.2f}  {finish - mean:+6.2f}", flush=True)


if __name__ == "__main__":
    main()
