"""Adam or Muon: which gets further with the same steps?

    python benchmarks/optimizers.py --data kaggle_3m --out runs/optimizers [--steps 600] [--seeds 0 1]

Trains the same generator (EDSR, x2, degradation `paper`) with each optimizer and several learning rates: the
same patches in the same order, cosine decay to zero, and prints the PSNR of the validation patients at the
end, with the seconds that the training took. Runs that are finished are not repeated.
"""

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_mrisr.data import read_dataset
from keras_mrisr.files import write_json, write_text
from keras_mrisr.presets import preset_config
from keras_mrisr.training import train

RATES = {"adam": (3e-4, 7e-4, 1.5e-3), "muon": (1e-3, 2e-3, 4e-3)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--steps", type=int, nargs="+", default=[300, 600])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--slices", type=int, default=32, help="validation slices")
    options = parser.parse_args()
    dataset = read_dataset(options.data)
    lines = ["| optimizer | learning rate | steps | validation PSNR dB, by seed | mean | seconds |"]
    lines.append("|" + "---|" * 6)
    print("\n".join(lines), flush=True)
    for steps in options.steps:
        for optimizer, rates in RATES.items():
            for rate in rates:
                found = [_run(optimizer, rate, steps, seed, options, dataset) for seed in options.seeds]
                psnrs = [one["psnr"] for one in found]
                lines.append(
                    f"| {optimizer} | {rate:g} | {steps} | {', '.join(f'{one:.2f}' for one in psnrs)} "
                    f"| {np.mean(psnrs):.2f} | {np.mean([one['seconds'] for one in found]):.0f} |"
                )
                print(lines[-1], flush=True)
    write_text(options.out / "optimizers.md", "\n".join(lines) + "\n")


def _run(optimizer, rate, steps, seed, options, dataset):
    run = options.out / f"{optimizer}-{rate:g}-{steps}-{seed}"
    result = run / "result.json"
    if not result.exists():
        config = preset_config("compact").replace(
            {
                "data.root": options.data,
                "generator.blocks": options.blocks,
                "generator.filters": options.filters,
                "training.optimizer": optimizer,
                "training.learning_rate": rate,
                "training.epochs": 1,
                "training.steps_per_epoch": steps,
                "training.validation_slices": options.slices,
                "training.seed": seed,
            }
        )
        scores = {}
        started = time.process_time()
        train(config, run, dataset=dataset, report=lambda *line: scores.update(line[2]))
        write_json(result, {"psnr": scores["val_psnr"], "seconds": time.process_time() - started})
        keras.backend.clear_session()
    return json.loads(result.read_text())


if __name__ == "__main__":
    main()
