"""Does `mrisr upscale --memory` keep its word?

    python benchmarks/volume_memory.py [--shape 512 512 200] [--budgets 1.5GB 2GB 4GB] [--model RUN]

Writes a synthetic volume of 16-bit integers as NIfTI, upscales it with the command under each budget, and
without one, and prints the peak of the command's resident memory: TensorFlow, the volume, the result and
the tiles together. Without --model the network is an untrained SRResNet x2 (--blocks, --filters): neither
memory nor time depend on the weights.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nibabel
import numpy as np

from keras_mrisr.memory import memory_text, parse_memory


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 200))
    parser.add_argument("--budgets", nargs="+", default=["1.5GB", "2GB", "4GB"])
    parser.add_argument("--model", help="model directory for one channel")
    parser.add_argument("--blocks", type=int, default=16)
    parser.add_argument("--filters", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = options.model or _untrained(folder / "model", options.blocks, options.filters)
        source = _write_volume(folder / "in.nii", options.shape)
        voxels = " x ".join(map(str, options.shape))
        print(f"{voxels} voxels of 16 bits, {memory_text(source.stat().st_size)}")
        print(f"{'--memory':>10}{'peak':>10}{'of budget':>11}{'seconds':>9}")
        for budget in (*options.budgets, None):
            peak, seconds = _run(source, folder / "out.nii", model, budget)
            share = f"{peak / parse_memory(budget):.2f}" if budget else ""
            print(f"{budget or 'none':>10}{memory_text(peak):>10}{share:>11}{seconds:>9.0f}", flush=True)


def _untrained(folder, blocks, filters):
    from keras_mrisr.degrade import get_degradation
    from keras_mrisr.models import build_generator
    from keras_mrisr.models.storage import ModelInfo, save_trained

    generator = {"name": "srresnet", "blocks": blocks, "filters": filters}
    info = ModelInfo(2, 1, generator, get_degradation("bicubic", 2).to_dict())
    save_trained(folder, build_generator(scale=2, channels=1, **generator), info, "Untrained.\n")
    return folder


def _write_volume(path, shape):
    """A noisy ellipsoid in black air, with slices twice as thick as the pixels are wide."""
    rng = np.random.default_rng(0)
    volume = np.zeros(shape, "int16")
    x, y = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape[:2]), indexing="ij")
    for place, z in enumerate(np.linspace(-0.9, 0.9, shape[2])):
        inside = x**2 + y**2 + z**2 < 0.9
        volume[inside, place] = rng.integers(200, 1200, np.count_nonzero(inside))
    nibabel.save(nibabel.Nifti1Image(volume, np.diag((0.5, 0.5, 1.0, 1.0))), path)
    return path


def _run(source, target, model, budget):
    """(peak of the resident memory in bytes, seconds) of one command."""
    words = [sys.executable, "-m", "keras_mrisr", "upscale", source, target, "--model", model, "--overwrite"]
    if budget is not None:
        words += ["--memory", budget]
    start = time.perf_counter()
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"mrisr upscale --memory {budget} failed")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), time.perf_counter() - start


if __name__ == "__main__":
    main()
