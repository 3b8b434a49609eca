"""What do two processes gain that train together, and what does averaging their gradients cost?

    python benchmarks/distributed.py [--ranks 2] [--steps 20] [--filters 64] [--blocks 8]

Needs PyTorch. For both stages, pixels and SRGAN, the same steps of plain gradient descent on the same
batches are taken by one process with one thread, by one with as many threads as there are ranks, and by the
ranks with a thread each, started by torchrun. Prints for each the least and the median time of a step and the
processor time of all processes, for the ranks the time within all-reduce, and the largest difference of a
weight to that of one process.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

STAGES = ("pixels", "SRGAN")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--side", nargs=2, metavar=("THREADS", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        _take_steps(options, int(options.side[0]), pathlib.Path(options.side[1]))
    else:
        _compare(options)


def _compare(options):
    import numpy as np

    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(options.ranks))
    sides = {
        "one process, 1 thread": ((), 1),
        f"one process, {options.ranks} threads": ((), options.ranks),
        f"{options.ranks} processes, 1 thread each": (torchrun, 1),
    }
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for number, (name, (launcher, threads)) in enumerate(sides.items()):
            file = pathlib.Path(folder, f"{number}.npz")
            words = [arg for arg in sys.argv[1:]] + ["--side", str(threads), str(file)]
            subprocess.run(
                [sys.executable, *launcher, __file__, *words],
                env={**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": str(threads)},
                check=True,
            )
            with np.load(file) as arrays:
                found[name] = {key: arrays[key] for key in arrays.files}
    for stage in STAGES:
        print(f"\n| {stage} | least step | median | processor time a step | all-reduce | weights differ by |")
        print("|---|---|---|---|---|---|")
        first = next(iter(found.values()))
        for name, values in found.items():
            numbers = json.loads(str(values[f"{stage} numbers"]))
            apart = np.abs(values[f"{stage} weights"] - first[f"{stage} weights"]).max()
            print(
                f"| {name} | {numbers['least']:.3f} s | {numbers['median']:.3f} s | {numbers['cpu']:.3f} s "
                f"| {numbers['reduce']:.3f} s | {apart:.1e} |"
            )


def _take_steps(options, threads, file):
    sys.modules["tensorflow"] = None  # Keras would load it to seed it.
    import keras
    import numpy as np
    import torch
    import torch.distributed as dist

    from keras_mrisr import ranks
    from keras_mrisr.config import RunConfig
    from keras_mrisr.training import muon
    from keras_mrisr.training.adversarial import compiled_srgan
    from keras_mrisr.training.generator import compiled_generator
    from keras_mrisr.training.gradients import average_over_ranks
    from keras_mrisr.training.state import share_model

    muon.Adam = keras.optimizers.SGD  # Under Adam rounding alone moves weights apart.
    torch.set_num_threads(threads)
    waited, plain = [], dist.all_reduce

    def timed(*args, **kwargs):
        begin = time.perf_counter()
        plain(*args, **kwargs)
        waited.append(time.perf_counter() - begin)

    dist.all_reduce = timed
    config = RunConfig().replace(
        {
            "generator": {"name": "srresnet", "blocks": options.blocks, "filters": options.filters},
            "training.patch_size": options.patch,
            "training.batch_size": options.batch,
            "training.learning_rate": 1e-2,
            "training.clip_norm": 0.1,
            "training.precision": "float32",
            "training.schedule": "constant",
            "adversarial.discriminator": {"name": "patchgan", "filters": 16, "normalization": "batch"},
            "adversarial.discriminator_rate": 1e-2,
            "adversarial.perceptual_weight": 0.0,
        }
    )
    rng = np.random.default_rng(0)
    edge = options.patch // config.scale
    batches = [
        (
            rng.random((options.batch, edge, edge, 1)),
            rng.random((options.batch, options.patch, options.patch, 1)),
        )
        for _ in range(4)
    ]
    found = {}
    with ranks.joined("distributed" if "RANK" in os.environ else "none"):
        for stage in STAGES:
            keras.utils.set_random_seed(0)
            model = compiled_generator(config, 1) if stage == "pixels" else compiled_srgan(config, 1, None)
            share_model(model)
            average_over_ranks(model)
            rows = ranks.share(options.batch)
            times = []
            for step in range(options.steps + 1):
                if step == 1:  # The first one allocates.
                    waited.clear()
                    begun = time.process_time()
                lr, hr = (part[rows.start : rows.stop].astype("float32") for part in batches[step % 4])
                begin = time.perf_counter()
                model.train_on_batch(lr, hr)
                times.append(time.perf_counter() - begin)
            numbers = {
                "least": min(times[1:]),
                "median": statistics.median(times[1:]),
                "cpu": ranks.rank_count() * ranks.mean([time.process_time() - begun])[0] / options.steps,
                "reduce": sum(waited) / options.steps,
            }
            generator = getattr(model, "generator", model)
            found[f"{stage} numbers"] = json.dumps(numbers)
            found[f"{stage} weights"] = np.concatenate([np.ravel(one) for one in generator.get_weights()])
        if ranks.leads():
            np.savez(file, **found)


if __name__ == "__main__":
    main()
