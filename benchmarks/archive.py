"""How many series of an archive are upscaled a minute: in one process, and on 1 and 2 Dask workers?

    python benchmarks/archive.py [--series 12] [--size 128] [--slices 8] [--workers 1 2] [--model any-x2]

Makes an archive of that many MR series of noise and an ellipsoid, upscales it by 2 in plane by the serial run
and by each number of workers, in turn. Prints series a minute, the ratio to the serial run, the time to the
first result (in which the models are loaded), the largest memory of a worker, and that of each after half of
the series and at the end. Then it sends items that do nothing: the time that the scheduler adds. All results
are compared with those of the serial run.
"""

import argparse
import functools
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from keras_mrisr.archive import upscale_archive
from keras_mrisr.cluster import DaskWorkers
from keras_mrisr.export.onnx_resolver import OnnxSuperResolver
from keras_mrisr.memory import resident_memory
from keras_mrisr.pretrained import find_model
from keras_mrisr.volumes import read_volume

EMPTY = 200  # Items that do nothing.


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=12)
    parser.add_argument("--size", type=int, default=128, help="pixels of a slice, each way")
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--model", default="any-x2")
    options = parser.parse_args()
    load = functools.partial(OnnxSuperResolver.load, find_model(options.model), engine="onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        make_archive(root / "archive", options)
        print(f"{options.series} series of {options.slices} slices of {options.size} px, {options.model}")
        print("run        series/min  ratio  first result  largest memory  middle -> end")
        serial = timed(root / "archive", root / "serial", load(), "serial", options)
        print(serial.line(serial), flush=True)
        for count in options.workers:
            with DaskWorkers(load, processes=count) as workers:
                run = timed(root / "archive", root / f"dask{count}", workers, f"{count} worker(s)", options)
                print(run.line(serial), flush=True)
                started = time.perf_counter()
                done = sum(1 for _ in workers.run(nothing, range(EMPTY)))
                spent = (time.perf_counter() - started) / done
            print(f"  the scheduler adds {1000 * spent:.1f} ms an item; {same(root, count)} results differ")


class Run:
    """What was measured of one run."""

    def __init__(self, name, series, seconds, first, memory):
        self.name, self.series, self.seconds, self.first, self.memory = name, series, seconds, first, memory

    def line(self, serial):
        pace, before = (60 * run.series / run.seconds for run in (self, serial))
        middle, end = self.memory[len(self.memory) // 2], self.memory[-1]
        return (
            f"{self.name:10s} {pace:10.1f}  {pace / before:5.2f}  {self.first:10.1f} s  "
            f"{max(map(max, self.memory)) / 1e9:11.2f} GB  {largest(middle)} -> {largest(end)}"
        )


def largest(sizes):
    return ", ".join(f"{size / 1e9:.2f}" for size in sizes) + " GB"


def timed(archive, out, workers, name, options):
    memory, first = [], []
    started = time.perf_counter()

    def progress(done, total):
        first.append(time.perf_counter() - started)
        there = (
            workers.client.run(resident_memory)
            if isinstance(workers, DaskWorkers)
            else {0: resident_memory()}
        )
        memory.append(list(there.values()))

    outcome = upscale_archive(archive, out, workers, progress=progress)
    seconds = time.perf_counter() - started
    if outcome.made != options.series:
        raise SystemExit(f"{name}: only {outcome.made} of {options.series} were made")
    return Run(name, outcome.made, seconds, first[0], memory)


def nothing(item, models):
    return item


def same(root, count):
    """How many results differ from those of the serial run."""
    differ = 0
    for place in sorted((root / "archive").iterdir()):
        arrays = [read_volume(root / name / place.name).array for name in ("serial", f"dask{count}")]
        differ += not np.array_equal(*arrays)
    return differ


def make_archive(folder, options):
    rng = np.random.default_rng(0)
    rows = np.linspace(-1, 1, options.size)
    ellipse = np.hypot(rows[:, None] / 0.8, rows[None, :] / 0.6) < 1
    for number in range(options.series):
        place = folder / f"series{number:04d}"
        place.mkdir(parents=True)
        study, series, frame = generate_uid(), generate_uid(), generate_uid()
        for index in range(options.slices):
            image = 600 * ellipse * (1 + 0.2 * np.sin(9 * rows + number)) + rng.normal(30, 10, ellipse.shape)
            header = dataset(study, series, frame, index, number)
            header.Rows, header.Columns = image.shape
            header.PixelData = np.clip(image, 0, 4095).astype("uint16").tobytes()
            header.save_as(place / f"{index:04d}.dcm", enforce_file_format=True)


def dataset(study, series, frame, index, number):
    one = pydicom.Dataset()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, generate_uid()
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
    one.Modality, one.PatientID, one.SeriesNumber, one.InstanceNumber = "MR", "phantom", number, index + 1
    one.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 1.5 * index]
    one.PixelSpacing, one.SliceThickness, one.SpacingBetweenSlices = [1.5, 1.5], 1.5, 1.5
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 0
    one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
    return one


if __name__ == "__main__":
    main()
