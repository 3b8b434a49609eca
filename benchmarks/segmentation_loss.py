"""What does the segmentation-consistency loss do to Dice and PSNR?

    python benchmarks/segmentation_loss.py --data kaggle_3m --unet runs/unet --judge runs/unet2 \
        --init runs/x2 --features vgg16:WEIGHTS.h5 --out runs/segmentation-loss

From one trained generator (--init) it trains on with every weight of --weights, with the same patches, steps
and seed, so that nothing but the loss differs: in the stage `generator` with pixels only, in the stage `gan`
with the preset `stable`. Then the last moving average of each is scored on the test patients, which neither
it nor a U-Net has seen: Dice and lesion recall of --judge, a U-Net that no generator was trained with (the
same data, another --seed), PSNR over whole slices and over the tumour. Without --judge the U-Net of the loss
is the judge, which flatters the loss: the table says so. HR, bicubic and --init are in the table, too.

Runs that are finished are not repeated, and a stopped one goes on.
"""

import argparse
import math
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_mrisr.commands.naming import parse_features
from keras_mrisr.data import Split, read_dataset
from keras_mrisr.degrade import get_degradation
from keras_mrisr.evaluation.methods import Interpolator, Model
from keras_mrisr.evaluation.slices import SliceReader
from keras_mrisr.files import write_json, write_text
from keras_mrisr.metrics import psnr
from keras_mrisr.models.storage import load_info
from keras_mrisr.presets import adversarial_config, preset_config
from keras_mrisr.segmentation import evaluate_segmentation
from keras_mrisr.segmentation.tables import summary_rows
from keras_mrisr.training import train
from keras_mrisr.training.stage import LAST
from keras_mrisr.training.state import read_state

STAGES = ("generator", "gan")
COLUMNS = ("PSNR dB", "PSNR tumour")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of the LGG slices, with masks")
    parser.add_argument("--unet", required=True, help="U-Net of the loss")
    parser.add_argument("--judge", help="U-Net that scores (default: that of the loss)")
    parser.add_argument("--init", required=True, help="trained generator to go on from")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--features", default="vgg19:imagenet", help="NETWORK:WEIGHTS, for the stage gan")
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument("--weights", nargs="+", type=float, default=[0.0, 1.0, 10.0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=4, help="of --steps in all")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--patch-size", type=int, default=96)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    dataset = read_dataset(options.data)
    split = _split(options.init, dataset)
    runs = {}
    for stage in options.stages:
        for weight in options.weights:
            name = f"{stage}-{weight:g}"
            runs[name] = options.out / name
            state = read_state(runs[name] / "backup")
            if state is None or not state.finished:
                print(f"Training {name}", flush=True)
                train(_config(stage, weight, options), runs[name], dataset=dataset, split=split, report=_line)
                keras.backend.clear_session()
    report(options, {"init": options.init, **{name: run / LAST for name, run in runs.items()}}, dataset)


def _split(init, dataset):
    """The split that --init was trained with, of the patients that are there."""
    split = Split.from_dict(load_info(init).data["split"])
    present = set(dataset.patients)
    return Split(*(tuple(present & set(part)) for part in (split.train, split.val, split.test)))


def _config(stage, weight, options):
    info = load_info(options.init)
    config = adversarial_config(preset_config("compact"), "stable").replace(
        {
            "scale": info.scale,
            "degradation": info.degradation,
            "generator": info.generator,
            "data.root": options.data,
            "training.init": options.init,
            "training.epochs": options.epochs,
            "training.steps_per_epoch": math.ceil(options.steps / options.epochs),
            "training.batch_size": options.batch_size,
            "training.patch_size": options.patch_size,
            "training.optimizer": "adam",
            "training.learning_rate": options.learning_rate,
            "training.precision": options.precision,
            "training.validation_slices": 8,
            "training.seed": options.seed,
            "adversarial.features": parse_features(options.features),
            "adversarial.segmentation_weight": weight,
            "adversarial.segmentation_model": options.unet if weight else None,
        }
    )
    if stage == "gan":
        return config
    off = ("perceptual", "adversarial", "consistency", "r1")
    return config.replace({f"adversarial.{name}_weight": 0.0 for name in off})


def _line(epoch, step, logs):
    if step is None:
        shown = {name: round(float(value), 5) for name, value in logs.items() if not name.startswith("d_")}
        print(f"  epoch {epoch}: {shown}", flush=True)


def report(options, models, dataset):
    """Scores every model, prints the table, and writes it with all numbers."""
    out = options.out / "report"
    evaluation = evaluate_segmentation(
        options.judge or options.unet, options.data, models, out, overwrite=True, figure_cases=6
    )
    signal = _signal(models, dataset.select(evaluation.protocol["patients"]))
    columns, rows = summary_rows(evaluation.summary, evaluation.differences)
    lines = [[*columns, *COLUMNS], ["---"] * (len(columns) + len(COLUMNS))]
    for row in rows:
        found = signal.get(row[0])
        lines.append([*row, *((f"{value:.3f}" for value in found) if found else ("", ""))])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    judge = "of a U-Net that no generator saw" if options.judge else "OF THE U-NET OF THE LOSS ITSELF"
    steps = f"{options.steps} steps of {options.batch_size} patches of {options.patch_size} px"
    text += f"\n\nDice and recall {judge}; {steps} from {pathlib.Path(options.init).name}; PSNR: mean over "
    text += "patients of their slices, all channels, 8 bit; tumour: inside the mask.\n"
    text += "\n".join(evaluation.lines()) + "\n"
    print(text)
    write_text(options.out / "segmentation_loss.md", text)
    write_json(options.out / "segmentation_loss.json", {**evaluation.to_dict(), "psnr": signal})


def _signal(models, dataset):
    """{method: (PSNR, PSNR in the tumour)}: means over patients of their slices'."""
    contenders = [Model(name, path) for name, path in models.items()]
    info = load_info(next(iter(models.values())))
    reader = SliceReader(dataset, get_degradation(**info.degradation))
    contenders.insert(0, Interpolator("bicubic", info.scale))
    signal = {}
    for contender in contenders:
        patients = []
        for records in dataset.by_patient().values():
            rows = []
            for record in records:
                hr, sr = reader.hr(record)[np.newaxis], contender(record, reader)[np.newaxis]
                tumour = reader.tumour(record)[np.newaxis]
                values = psnr(hr, sr, 255.0), psnr(hr, sr, 255.0, mask=tumour)
                rows.append([float(value[0]) for value in values])
            rows = np.where(np.isfinite(rows), rows, np.nan)
            patients.append(np.nanmean(rows, axis=0))
        signal[contender.name] = np.mean(patients, axis=0).round(4).tolist()
    return signal


if __name__ == "__main__":
    main()
