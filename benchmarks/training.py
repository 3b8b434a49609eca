"""How fast does the full x2 generator train, and does the input pipeline keep up?

    python benchmarks/training.py [--data ROOT] [--precision mixed_bfloat16] [--rounds 5]

Trains the paper's SRResNet (16 blocks, 64 filters) on 96 px HR patches in batches of 8, and prints, all
from one run with the sides interleaved: the machine's limit (a large float32 matrix multiplication),
`train_on_batch` on one fixed batch, `fit` with the pipeline attached, and the pipeline alone. Without
--data the slices are random images of the LGG set's size and number (3,929 of 256x256x3).
"""

import argparse
import os
import resource
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_mrisr.data import RangeNormalizer, read_dataset
from keras_mrisr.data.pipeline import PatchDataset, SlicePair, load_pairs
from keras_mrisr.degrade import get_degradation
from keras_mrisr.models import srresnet
from keras_mrisr.training.strategy import dtype_policy

SCALE, PATCH, BATCH = 2, 96, 8
LGG_SLICES = 3929


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of slices; random images by default")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="steps a round and side")
    options = parser.parse_args()

    before = _resident_gb()
    pairs = _load(options.data)
    print(f"{len(pairs)} slices in memory: {_resident_gb() - before:.2f} GB, peak {_peak_gb():.2f} GB")

    with dtype_policy(options.precision):
        model = srresnet(SCALE, 3)
    model.compile(keras.optimizers.Adam(1e-3), loss="mean_squared_error")
    patches = PatchDataset(pairs, SCALE, PATCH, BATCH, steps=options.steps)
    batch = patches[0]
    operations = 3 * _operations(model, PATCH // SCALE)  # forward, and backward for weights and inputs
    sides = {
        "matrix multiplication (limit)": _matmul_rate,
        "train_on_batch, one fixed batch": lambda: _train_on_batch(model, batch, options.steps),
        "fit with the pipeline": lambda: _fit(model, patches, options.steps),
        "pipeline alone": lambda: _pipeline(patches),
    }
    for run in sides.values():  # Tracing and warm-up.
        run()
    rates = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, run in sides.items():
            rates[name].append(run())
    limit = [rate / operations for rate in rates["matrix multiplication (limit)"]]
    rates["matrix multiplication (limit)"] = limit
    print(f"srresnet x{SCALE}, {model.count_params():,} parameters, {PATCH} px HR patches, batch {BATCH}, "
          f"{options.precision}, {os.cpu_count()} cores, {operations / 1e9:.1f} GFLOP a patch")  # fmt: skip
    print(f"{'':34}{'patches/s':>10}{'of limit':>10}{'of train_on_batch':>19}")
    bare = rates["train_on_batch, one fixed batch"]
    for name, values in rates.items():
        ratios = f"{_ratio(values, limit):10.2f}{_ratio(values, bare):19.2f}"
        print(f"{name:34}{statistics.median(values):10.2f}{ratios}")


def _load(root):
    if root:
        return load_pairs(read_dataset(root), get_degradation("paper", SCALE))
    rng = np.random.default_rng(0)
    normalizer = RangeNormalizer(0.0, 255.0)
    shapes = (256, 256, 3), (256 // SCALE, 256 // SCALE, 3)
    hr, lr = (rng.integers(0, 256, (LGG_SLICES, *shape), dtype=np.uint8) for shape in shapes)
    return [SlicePair(hr[i], lr[i], normalizer, None) for i in range(LGG_SLICES)]


def _matmul_rate(size=3072, repeats=4):
    """Floating point operations a second of a float32 matrix multiplication."""
    a = tf.random.normal((size, size))
    started = time.perf_counter()
    for _ in range(repeats):
        a_squared = tf.matmul(a, a)
    a_squared.numpy()
    return 2 * size**3 * repeats / (time.perf_counter() - started)


def _train_on_batch(model, batch, steps):
    started = time.perf_counter()
    for _ in range(steps):
        model.train_on_batch(*batch)
    return steps * BATCH / (time.perf_counter() - started)


class _Clock(keras.callbacks.Callback):
    """Times the steps of an epoch, without the set-up of `fit`."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.started


def _fit(model, patches, steps):
    clock = _Clock()
    model.fit(patches, callbacks=[clock], shuffle=False, verbose=0)
    return steps * BATCH / clock.seconds


def _pipeline(patches):
    started = time.perf_counter()
    for i in range(len(patches)):
        patches[i]
    return len(patches) * BATCH / (time.perf_counter() - started)


def _operations(model, size):
    """Floating point operations of the convolutions for one LR patch of `size` pixels."""
    total = 0
    grid = size
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            total += 2 * grid**2 * int(np.prod(layer.kernel.shape))
        elif hasattr(layer, "scale") and layer.name.endswith("_shuffle"):
            grid *= layer.scale
    return total


def _ratio(values, reference):
    return statistics.median(a / b for a, b in zip(values, reference, strict=True))


def _resident_gb():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e9


def _peak_gb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
