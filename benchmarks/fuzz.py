"""Does every reader answer broken files with an error of this package, quickly and within its memory?

    python benchmarks/fuzz.py [--count 2000] [--seed 0] [--readers png nifti ...] [--keep FOLDER]

For each reader it makes small valid files, damages them (bits, header fields set to extremes, cuts, repeated
or foreign pieces) and reads them in child processes with a limit of address space and of time. It prints a
table and ends with 1 where a reader raised anything but a `MrisrError`, died, hung or wrote to the terminal.
With --keep the files that did are put into a folder; nothing that it makes is kept otherwise.
"""

import argparse
import collections
import contextlib
import io
import json
import logging
import multiprocessing
import os
import pathlib
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from keras_mrisr.errors import MrisrError
from keras_mrisr.terminal import start_logging

SECONDS = 20  # For one file.
MEMORY = 3 * 2**30  # Of address space, over what the program takes itself.
BATCH = 50  # Files that one child reads.
HEADER = 348  # Bytes of the header of a pair.
EXTREMES = (b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff")
Reader = Callable[[pathlib.Path], object]


# --- valid files


def picture() -> np.ndarray:
    return (np.add.outer(np.arange(24), np.arange(20)) * 5 % 251).astype("uint8")


def images(ending: str, **options: object) -> Callable[[pathlib.Path], list[bytes]]:
    def make(folder: pathlib.Path) -> list[bytes]:
        from PIL import Image

        made = []
        for array in (picture(), np.stack([picture()] * 3, axis=-1)):
            content = io.BytesIO()
            Image.fromarray(array).save(content, ending, **options)
            made.append(content.getvalue())
        if ending == "png":  # Read in another way.
            from keras_mrisr.data import write_image

            write_image(folder / "a.png", np.stack([picture().astype("uint16") * 9] * 3, axis=-1))
            made.append((folder / "a.png").read_bytes())
        return made

    return make


def tiffs(slices: int) -> Callable[[pathlib.Path], list[bytes]]:
    def make(folder: pathlib.Path) -> list[bytes]:
        import tifffile

        array = np.stack([picture().astype("uint16")] * slices).squeeze()
        made = []
        for options in ({}, {"compression": "zlib"}, {"imagej": True}):
            # Three slices of 16 bits would otherwise be taken for the planes of one colour image.
            tifffile.imwrite(folder / "a.tif", array, photometric="minisblack", **options)
            made.append((folder / "a.tif").read_bytes())
        if slices == 1:
            from PIL import Image

            for code in ("tiff_lzw", "packbits", "jpeg", "tiff_adobe_deflate", "group4"):
                grey = picture() if code != "group4" else picture() > 120
                Image.fromarray(grey).save(folder / "a.tif", compression=code)
                made.append((folder / "a.tif").read_bytes())
        return made

    return make


def voxels(ending: str, image_class: str) -> Callable[[pathlib.Path], list[bytes]]:
    def make(folder: pathlib.Path) -> list[bytes]:
        import nibabel

        kind = getattr(nibabel, image_class)
        made = []
        for dtype in ("int16", "float32"):
            array = np.arange(6 * 5 * 4).reshape(6, 5, 4).astype(dtype)
            nibabel.save(kind(array, np.diag([1.0, 1.0, 2.0, 1.0])), folder / f"a{ending}")
            made.append((folder / f"a{ending}").read_bytes())
        return made

    return make


def pairs(image_class: str) -> Callable[[pathlib.Path], list[bytes]]:
    """Headers of pairs with their voxels behind them, as `read_pair` takes them apart."""

    def make(folder: pathlib.Path) -> list[bytes]:
        import nibabel

        made = []
        for dtype in ("int16", "float32"):
            array = np.arange(6 * 5 * 4).reshape(6, 5, 4).astype(dtype)
            getattr(nibabel, image_class)(array, np.diag([1.0, 1.0, 2.0, 1.0])).to_filename(folder / "a.img")
            made.append((folder / "a.hdr").read_bytes()[:HEADER] + (folder / "a.img").read_bytes())
        return made

    return make


def itk_volumes(ending: str) -> Callable[[pathlib.Path], list[bytes]]:
    def make(folder: pathlib.Path) -> list[bytes]:
        import SimpleITK

        made = []
        for dtype, compressed in (("int16", False), ("float32", True)):
            image = SimpleITK.GetImageFromArray(np.arange(6 * 5 * 4).reshape(4, 5, 6).astype(dtype))
            SimpleITK.WriteImage(image, str(folder / f"a{ending}"), useCompression=compressed)
            made.append((folder / f"a{ending}").read_bytes())
        return made

    return make


def dicom(folder: pathlib.Path) -> list[bytes]:
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, RLELossless, generate_uid

    made = []
    for syntax in (ExplicitVRLittleEndian, RLELossless):
        header = pydicom.Dataset()
        header.SOPClassUID, header.SOPInstanceUID = MRImageStorage, generate_uid()
        header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        header.Modality, header.ImageType = "MR", ["ORIGINAL", "PRIMARY", "M"]
        header.SeriesNumber = header.InstanceNumber = 1
        header.SliceThickness, header.PixelSpacing = 2, [1, 1]
        header.ImagePositionPatient, header.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
        header.Rows, header.Columns = picture().shape
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated = header.BitsStored = 16
        header.HighBit, header.PixelRepresentation = 15, 0
        header.PixelData = picture().astype("uint16").tobytes()
        header["PixelData"].VR = "OW"
        header.file_meta = pydicom.dataset.FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if syntax.is_compressed:
            header.compress(syntax, generate_instance_uid=False)
        header.save_as(folder / "a.dcm", enforce_file_format=True)
        made.append((folder / "a.dcm").read_bytes())
    return made


def shipped(name: str) -> Callable[[pathlib.Path], list[bytes]]:
    """A file of the bundled models."""

    def make(folder: pathlib.Path) -> list[bytes]:
        from keras_mrisr import pretrained

        return [
            path.read_bytes() for path in sorted(pathlib.Path(pretrained.__file__).parent.glob(f"*/{name}"))
        ]

    return make


def studies(folder: pathlib.Path) -> list[bytes]:
    import keras_mrisr.tuning

    place = pathlib.Path(keras_mrisr.tuning.__file__).parent / "studies"
    return [path.read_bytes() for path in sorted(place.glob("*.yaml"))]


# --- readers


def read_image(path: pathlib.Path) -> object:
    from keras_mrisr.data import read_image

    return read_image(path)


def read_volume(path: pathlib.Path) -> object:
    from keras_mrisr.volumes import check_volume, read_volume

    volume = read_volume(path)
    check_volume(volume)
    return volume


def read_pair(path: pathlib.Path) -> object:
    content = path.read_bytes()
    path.with_suffix(".img").write_bytes(content[HEADER:])
    path.write_bytes(content[:HEADER])
    return read_volume(path)


def read_config(path: pathlib.Path) -> object:
    from keras_mrisr.config import read_config

    return read_config(path)


def read_study(path: pathlib.Path) -> object:
    from keras_mrisr.tuning.study import read_study

    return read_study(path)


def read_model_info(path: pathlib.Path) -> object:
    from keras_mrisr.models.storage import load_info

    shutil.copyfile(path, path.parent / "model.json")
    return load_info(path.parent)


READERS: dict[str, tuple[str, Callable[[pathlib.Path], list[bytes]], Reader]] = {
    "png": (".png", images("png"), read_image),
    "jpeg": (".jpg", images("jpeg"), read_image),
    "tiff": (".tif", tiffs(1), read_image),
    "tiff-stack": (".tif", tiffs(3), read_volume),
    "nifti": (".nii", voxels(".nii", "Nifti1Image"), read_volume),
    "nifti-gz": (".nii.gz", voxels(".nii.gz", "Nifti1Image"), read_volume),
    "nifti2": (".nii", voxels(".nii", "Nifti2Image"), read_volume),
    "mgh": (".mgh", voxels(".mgh", "MGHImage"), read_volume),
    "mgz": (".mgz", voxels(".mgz", "MGHImage"), read_volume),
    "pair": (".hdr", pairs("Nifti1Pair"), read_pair),
    "analyze": (".hdr", pairs("Spm2AnalyzeImage"), read_pair),
    "nrrd": (".nrrd", itk_volumes(".nrrd"), read_volume),
    "mha": (".mha", itk_volumes(".mha"), read_volume),
    "dicom": (".dcm", dicom, read_volume),
    "config": (".yaml", shipped("config.yaml"), read_config),
    "study": (".yaml", studies, read_study),
    "model.json": (".txt", shipped("model.json"), read_model_info),
}


# --- damage


def mutate(seeds: list[bytes], rng: random.Random) -> bytes:
    """A damaged copy of one of some files; most of the damage falls on its first bytes, where headers are."""
    content = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        end = len(content) if rng.random() < 0.4 else min(len(content), 400)
        place = rng.randrange(max(end, 1))
        kind = rng.randrange(6)
        if kind == 0 and content:
            content[place % len(content)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            width = rng.choice((1, 2, 4, 8))
            content[place : place + width] = rng.choice(EXTREMES) * width
        elif kind == 2:
            content[place : place + 4] = rng.randbytes(4)
        elif kind == 3:
            del content[rng.randrange(len(content) + 1) :]
        elif kind == 4:
            piece = content[place : place + rng.randrange(1, 64)]
            content[place:place] = piece * rng.randrange(1, 4)
        else:
            other = rng.choice(seeds)
            start = rng.randrange(len(other))
            content[place : place + 32] = other[start : start + 32]
    return bytes(content)


# --- reading


def read_batch(reader: Reader, paths: list[pathlib.Path], results: object) -> None:
    """In a child: reads files one after the other and sends what came of each."""
    with open("/proc/self/statm", encoding="ascii") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # Ends the process, whatever library is at work.
    said = open(paths[0].parent / "said", "w+b")  # noqa: SIM115 - until the process ends
    os.dup2(said.fileno(), 1)  # Libraries in C write to the descriptors themselves.
    os.dup2(said.fileno(), 2)
    start_logging(quiet=True)
    logging.getLogger("keras_mrisr").setLevel(logging.ERROR)  # What we say of a file that can be read.
    for path in paths:
        signal.alarm(SECONDS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                reader(path)
                outcome = ("read", "")
            except MrisrError as error:
                text = str(error)
                bad = any(ord(letter) < 32 for letter in text)
                outcome = ("several lines", text) if bad else ("refused", "")
            except BaseException as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                outcome = ("foreign error", f"{type(error).__name__} in {where.name}: {error}"[:200])
        signal.alarm(0)
        sys.stdout.flush()
        sys.stderr.flush()
        said.seek(0)
        words = said.read().decode(errors="replace").strip()
        said.seek(0)
        said.truncate()
        if words and outcome[0] in ("read", "refused"):
            outcome = ("chatter", words[:200])
        results.send((path, *outcome))
    results.close()


def run(reader: Reader, paths: list[pathlib.Path]) -> Iterator[tuple[pathlib.Path, str, str]]:
    """(path, outcome, words) of each file; a child that ends early is followed by another."""
    context = multiprocessing.get_context("fork")
    while paths:
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=read_batch, args=(reader, paths[:BATCH], sender))
        child.start()
        sender.close()
        done = 0
        with contextlib.suppress(EOFError):
            while True:
                yield receiver.recv()
                done += 1
        child.join()
        if done < len(paths[:BATCH]):
            hung = child.exitcode == -signal.SIGALRM
            yield paths[done], "hung" if hung else "died", f"exit code {child.exitcode}"
            done += 1
        paths = paths[done:]


def fuzz(name: str, count: int, seed: int, keep: pathlib.Path | None) -> collections.Counter[str]:
    """Reads `count` damaged files with a reader; what came of them."""
    ending, make, reader = READERS[name]
    rng = random.Random(f"{seed} {name}")
    outcomes: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        seeds = make(folder)
        for number, content in enumerate(seeds):  # Also imports what the reader needs, before it is forked.
            path = folder / f"seed{number}{ending}"
            path.write_bytes(content)
            reader(path)
            path.unlink()
        paths = []
        for number in range(count):
            paths.append(folder / f"{number}" / f"case{ending}")
            paths[-1].parent.mkdir()
            paths[-1].write_bytes(mutate(seeds, rng))
        said = set()
        for path, outcome, words in run(reader, paths):
            outcomes[outcome] += 1
            if outcome not in ("read", "refused"):
                if words not in said:
                    print(f"  {name}: {outcome}: {words!r}", flush=True)
                said.add(words)
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, keep / f"{name}-{path.parent.name}{ending}")
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000, help="damaged files of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the files that were answered badly")
    options = parser.parse_args()
    good, table = ("read", "refused"), {}
    for name in options.readers:
        table[name] = fuzz(name, options.count, options.seed, options.keep)
        print(f"{name:12}", json.dumps(dict(table[name])), flush=True)
    bad = sum(count for outcomes in table.values() for kind, count in outcomes.items() if kind not in good)
    print(f"{options.count} files for each of {len(table)} readers; {bad} answered badly")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
