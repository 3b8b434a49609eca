"""Does adversarial training converge every time? The presets `paper` and `stable`, several seeds each.

    python benchmarks/gan_stability.py --data kaggle_3m --features vgg16:WEIGHTS.h5 --out runs/stability

And from a finished model the preset `projected`, whole or without one of its parts:

    python benchmarks/gan_stability.py --data kaggle_3m --features vgg16:WEIGHTS.h5 --out runs/projected \\
        --init lgg-x4 --seeds 0 1 2 --set training.epochs=5 training.steps_per_epoch=100 \\
        --without projection consistency balance spectrum noise adversarial

Trains each preset from several seeds (each `stable` run with a first stage of its own; `paper` has none, as
in the paper), then scores all runs on the test patients, which no run has seen. Prints a table and
writes it with the curves and the images into --out. Runs that are finished are not repeated, and a
stopped one goes on, so that the work can be spread over several calls (--presets, --seeds) and --report
only reads.

A run counts as diverged if
- a value became non-finite, or
- its last PSNR lies more than 3 dB below the generator that it started from (`paper`, which starts from
  random weights: below bicubic), or
- D(HR) and D(SR) were within 0.02 of 0 or 1 for the last fifth of its epochs.
"""

import argparse
import csv
import dataclasses
import functools
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib
import numpy as np

from keras_mrisr.config import RunConfig, parse_override, read_config
from keras_mrisr.data import read_dataset
from keras_mrisr.data.pipeline import load_pairs, separate_channels
from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.errors import MrisrError
from keras_mrisr.files import write_json, write_text
from keras_mrisr.inference.consistency import enforce_consistency
from keras_mrisr.metrics import psnr
from keras_mrisr.metrics.spectrum import largest_error, power_spectrum, spectrum_error
from keras_mrisr.models.features import build_features
from keras_mrisr.models.storage import load_info
from keras_mrisr.presets import adversarial_config, continued_config, preset_config
from keras_mrisr.pretrained import find_model
from keras_mrisr.training import train
from keras_mrisr.training.stage import PRETRAINED
from keras_mrisr.training.strategy import training_precision

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LAYERS = ("block3", "block4", "block5")
COLOURS = {"paper": "tab:red", "stable": "tab:blue"}
MARGIN = 0.02
# What becomes of `projected` without one of its parts.
PARTS = {
    "projection": {
        "adversarial.discriminator": {"name": "patchgan", "normalization": "spectral"},
    },
    "consistency": {"adversarial.consistency": False},
    "balance": {"adversarial.balance": 0.0, "adversarial.adversarial_weight": 7e-3},
    "spectrum": {"adversarial.spectrum_weight": 0.0},
    "noise": {"generator.thin_noise": 0},
    # The VGG loss alone.
    "adversarial": {
        "adversarial.adversarial_weight": 0.0,
        "adversarial.balance": 0.0,
        "adversarial.spectrum_weight": 0.0,
    },
}
MODELS = {"start": f"{PRETRAINED}/generator.keras", "kept": "generator.keras", "last": "last.keras"}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of the LGG slices")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--features", default="vgg19:imagenet", help="NETWORK:WEIGHTS")
    parser.add_argument("--presets", nargs="*", default=["paper", "stable"])
    parser.add_argument("--init", help="a finished model, from which `projected` goes on; no other preset")
    parser.add_argument(
        "--without", nargs="*", default=[], choices=PARTS,
        help="also train `projected` without each of these parts, from the first seed",
    )  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--degradation", default="paper")
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--patch-size", type=int, default=64)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--first-stage", type=int, default=1500, help="steps of batch 16 before `stable`")
    parser.add_argument("--steps", type=int, default=600, help="adversarial steps of `stable`")
    parser.add_argument("--paper-steps", type=int, default=3000, help="steps of `paper`, of batch 1")
    parser.add_argument(
        "--config", nargs="*", default=[], metavar="NAME=FILE",
        help="more presets: configs of a run or of mrisr tune results, as they are but for the seed",
    )  # fmt: skip
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE over the preset `stable`")
    parser.add_argument("--slices", type=int, default=48, help="test slices that are scored")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    options.config = dict(word.split("=", 1) for word in options.config)
    if options.init:
        options.presets = ["projected"]
        info = load_info(options.init)
        options.scale, options.degradation = info.scale, info.degradation["name"]
    elif options.without:
        parser.error("--without is for the preset `projected`: give --init")

    dataset = read_dataset(options.data)
    parts = [(f"without_{part}", options.seeds[0]) for part in options.without]
    every = [(preset, seed) for seed in options.seeds for preset in (*options.presets, *options.config)]
    for preset, seed in (*every, *parts):
        run = options.out / f"{preset}-{seed}"
        if not options.report and not (run / "seconds.json").exists():
            _train(_config(preset, seed, options), run, dataset)
    report(options, dataset)


def _config(preset, seed, options):
    """The `RunConfig` of a run: the preset, but for the size of the network and the length."""
    if preset in options.config:
        config = read_config(options.config[preset], RunConfig())
        return config.replace({"training.seed": seed, "data.root": options.data})
    network, weights = options.features.split(":", 1)
    features = {"network": network, "weights": weights}
    if options.init:
        return _projected(preset, seed, features, options)
    if training_precision(options.precision) == "mixed_bfloat16":
        features["precision"] = "mixed_bfloat16"
    shared = {
        "scale": options.scale,
        "degradation.name": options.degradation,
        "data.root": options.data,
        "training.patch_size": options.patch_size,
        "training.precision": options.precision,
        "training.validation_slices": 12,
        "training.seed": seed,
    }
    if preset == "paper":
        config = adversarial_config(preset_config("paper"), "paper").replace(shared)
        return config.replace(
            {
                "generator": {"name": "srresnet", "blocks": options.blocks, "filters": options.filters},
                "adversarial.features": features,
                **_length(options.paper_steps),
            }
        )
    config = adversarial_config(preset_config("compact"), "stable").replace(shared)
    features = {**config.adversarial.features, **features}
    return config.replace(
        {
            "generator.blocks": options.blocks,
            "generator.filters": options.filters,
            "adversarial.features": features,
            "adversarial.pretraining": {
                **config.adversarial.pretraining,
                "epochs": max(1, options.first_stage // 150),
                "steps_per_epoch": min(150, options.first_stage),
            },
            **_length(options.steps),
            **dict(parse_override(text) for text in options.set),
        }
    )


def _projected(preset, seed, features, options):
    """The preset `projected` from a finished model, or that without one part."""
    if training_precision("auto") == "mixed_bfloat16":
        features = {**features, "precision": "mixed_bfloat16"}
    config = adversarial_config(continued_config(load_info(options.init)), "projected")
    return config.replace(
        {
            "data.root": options.data,
            "training.init": options.init,
            "training.seed": seed,
            "training.validation_slices": 12,
            "adversarial.features": {**config.adversarial.features, **features},
            **_length(options.steps),
            **PARTS.get(preset.removeprefix("without_"), {}),
            **dict(parse_override(text) for text in options.set),
        }
    )


def _length(steps, epochs=15):
    epochs = min(epochs, steps)
    return {"training.epochs": epochs, "training.steps_per_epoch": steps // epochs}


def _train(config, run, dataset):
    print(f"Training {run.name}", flush=True)
    started, cpu = time.time(), time.process_time()
    failure = None
    try:
        train(config, run, dataset=dataset, report=_line)
    except MrisrError as error:
        failure = str(error)
        if not failure.startswith("Training stopped"):
            raise  # No illness but bad input.
        print(f"{run.name}: {error}", flush=True)
    spent = {"wall": time.time() - started, "cpu": time.process_time() - cpu, "failure": failure}
    write_json(run / "seconds.json", spent)
    keras.backend.clear_session()


def _line(epoch, step, logs):
    if step is None:
        shown = {key: round(float(value), 4) for key, value in logs.items() if key.startswith(("val_", "d_"))}
        print(f"  epoch {epoch}: {shown}", flush=True)


def report(options, dataset):
    """Scores every finished run, prints the table, and writes table, curves and images."""
    network, weights = options.features.split(":", 1)
    features = build_features(network, LAYERS, weights)
    runs = sorted(path.parent for path in options.out.glob("*-*/seconds.json"))
    if not runs:
        raise SystemExit(f"No finished runs in {options.out}.")
    degradation = get_degradation(options.degradation, options.scale)
    pairs = load_pairs(_test_slices(runs, dataset, options.slices), degradation)
    if read_config(runs[0] / "config.yaml", RunConfig()).data.separate_channels:
        pairs = separate_channels(pairs)
    originals = [features(_unit(pair.hr)) for pair in pairs]
    score = functools.partial(
        _score, pairs=pairs, originals=originals, features=features, degradation=degradation
    )
    bicubic, bicubic_images = score(lambda pair: interpolate(pair.lr, options.scale, "bicubic"))
    rows, images = [], {"bicubic": bicubic_images}
    starts = {}  # Of runs that go on from one model.
    for run in runs:
        row = {"run": run.name, "history": _history(run), **json.loads((run / "seconds.json").read_text())}
        for name, path in _models(run).items():
            if path.exists():
                if path in starts:
                    row[name], sr = starts[path]
                    continue
                adversarial = read_config(run / "config.yaml", RunConfig()).adversarial
                consistent = adversarial.on and adversarial.consistency and name != "start"
                predict = _predictor(
                    keras.models.load_model(path, compile=False), degradation if consistent else None
                )
                row[name], sr = score(predict)
                images[f"{run.name} {name}"] = sr
                if name == "start":
                    starts[path] = row[name], sr
                keras.backend.clear_session()
        row["verdict"] = _verdict(row, bicubic)
        rows.append(row)
    text = _table(rows, bicubic, pairs, features) + _spread(rows)
    print(text)
    write_text(options.out / "stability.md", text)
    write_json(options.out / "stability.json", {"bicubic": bicubic, "runs": rows})
    _curves(rows, options.out / "curves.png")
    _strips(pairs, images, options.out)


def _test_slices(runs, dataset, count):
    parts = [json.loads((run / "split.json").read_text())["test"] for run in runs]
    if any(part != parts[0] for part in parts):
        raise SystemExit("The runs have different test patients: use a new --out.")
    test = dataset.select(parts[0])
    chosen = np.linspace(0, len(test) - 1, min(count, len(test))).round().astype(int)
    return dataclasses.replace(test, slices=tuple(test.slices[i] for i in chosen))


def _models(run):
    """{"start", "kept", "last"}: files of a run; it starts from its first stage, or from another run."""
    models = {name: run / file for name, file in MODELS.items()}
    init = read_config(run / "config.yaml", RunConfig()).training.init
    return {**models, "start": find_model(init) / "generator.keras"} if init else models


def _history(run):
    with open(run / "history.csv", newline="") as file:
        return [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(file)]


def _predictor(generator, consistent):
    """`consistent` is the degradation that a run's results are made consistent with, or None."""

    def predict(pair):
        lr = pair.normalizer.normalize(pair.lr)
        sr = np.asarray(generator.predict_on_batch(lr[np.newaxis]))[0]
        if consistent is not None:
            sr = enforce_consistency(np.nan_to_num(sr), lr, consistent)[0]
        return pair.normalizer.restore(np.nan_to_num(sr), np.uint8)

    return predict


def _unit(image):
    return image[np.newaxis].astype("float32") / 255


def _score(predict, pairs, originals, features, degradation):
    """({score: mean over slices}, images): PSNR of RGB in dB, the feature distance of each layer,
    "consistency", the RMS of degrade(SR) - LR in grey levels of 255, and "spectrum", the largest error of the
    power spectrum over all slices together up to 3/4 of the Nyquist frequency, in dB.
    """
    rows, images, powers = [], [], []
    for pair, hr_maps in zip(pairs, originals, strict=True):
        sr = predict(pair)
        row = {"psnr": float(psnr(_unit(pair.hr), _unit(sr), 1.0)[0])}
        for layer, hr_map, sr_map in zip(features.layers, hr_maps, features(_unit(sr)), strict=True):
            row[layer] = float(keras.ops.mean(keras.ops.square(hr_map - sr_map)))
        again = degradation.degrade(sr).astype("float64")
        row["consistency"] = float(np.sqrt(np.mean((again - pair.lr) ** 2)))
        powers.append([power_spectrum(_unit(image))[0] for image in (pair.hr, sr)])
        rows.append(row)
        images.append(sr)
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    means["spectrum"] = largest_error(spectrum_error(*np.mean(powers, axis=0)), 0.75)
    return means, images


def _verdict(row, bicubic):
    """Why the run counts as diverged, or "no"."""
    if "last" not in row or not all(np.isfinite(line["loss"]) for line in row["history"]):
        return "non-finite"
    if row["failure"]:
        return "gave up"
    psnr_last = row["last"]["psnr"]
    if "start" in row and psnr_last < row["start"]["psnr"] - 3:
        return f"{row['start']['psnr'] - psnr_last:.1f} dB below its start"
    if "start" not in row and psnr_last < bicubic["psnr"]:
        return f"{bicubic['psnr'] - psnr_last:.1f} dB below bicubic"
    tail = row["history"][-max(1, len(row["history"]) // 5) :]
    if all(min(p, 1 - p) < MARGIN for line in tail for p in (line["d_hr"], line["d_sr"])):
        return "discriminator certain"
    return "no"


def _table(rows, bicubic, pairs, features):
    patients = len({pair.record.patient for pair in pairs})
    head = ["run", "PSNR start", "last", "kept"]
    head += [cell for layer in features.layers for cell in (layer, "change")]
    head += ["degrade(SR) - LR", "last D(HR)", "D(SR)", "CPU minutes", "diverged"]
    lines = [
        f"{len(pairs)} slices of {patients} test patients, which no run has seen. PSNR: RGB, whole slice, "
        f"8 bits, mean per slice, in dB. {', '.join(features.layers)}: feature distance to HR of the kept "
        f"model ({features.network}, mean squared, features / 12.75) and its change from the run's own "
        "start, or from bicubic where there is none. degrade(SR) - LR: RMS in grey levels of 255.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        _line_of("bicubic", ["", f"{bicubic['psnr']:.2f}", ""], bicubic, None, features, ["", "", "", ""]),
    ]
    for row in rows:
        if "last" not in row:
            lines.append(f"| {row['run']} |" + " |" * (len(head) - 2) + f" {row['verdict']} |")
            continue
        start, kept, last = row.get("start"), row.get("kept", row["last"]), row["history"][-1]
        psnrs = [f"{part['psnr']:.2f}" if part else "" for part in (start, row["last"], kept)]
        rest = [f"{last['d_hr']:.2f}", f"{last['d_sr']:.2f}", f"{row['cpu'] / 60:.1f}", row["verdict"]]
        lines.append(_line_of(row["run"], psnrs, kept, start or bicubic, features, rest))
    return "\n".join(lines) + "\n"


def _spread(rows):
    """Mean and standard deviation over the seeds of every measure, of the last and the kept model."""
    presets = dict.fromkeys(row["run"].rsplit("-", 1)[0] for row in rows if "last" in row)
    lines = ["", "Over the seeds: mean, standard deviation, least and most.", ""]
    for preset in presets:
        ours = [row for row in rows if row["run"].rsplit("-", 1)[0] == preset and "last" in row]
        lines.append(f"- {preset}, {len(ours)} seeds, {sum(row['verdict'] != 'no' for row in ours)} diverged")
        for model in ("kept", "last"):
            found = [row[model] for row in ours if model in row]
            for measure in found[0] if found else ():
                values = np.array([one[measure] for one in found])
                lines.append(
                    f"    - {model}, {measure}: {values.mean():.4g}, {values.std(ddof=len(values) > 1):.2g}, "
                    f"{values.min():.4g} to {values.max():.4g}"
                )
    return "\n".join(lines) + "\n"


def _line_of(name, psnrs, scores, against, features, rest):
    cells = [name, *psnrs]
    for layer in features.layers:
        cells.append(f"{scores[layer]:.3g}")
        cells.append(f"{100 * (scores[layer] / against[layer] - 1):+.0f} %" if against else "")
    cells.append(f"{scores['consistency']:.2f}")
    return "| " + " | ".join([*cells, *rest]) + " |"


def _curves(rows, path):
    """Validation PSNR and feature distance, and D's probabilities, over the share of the training."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), sharex=True)
    panels = {
        "val_psnr": "validation PSNR (dB)",
        "val_features": "validation feature distance",
        "d_hr": "D(HR)",
        "d_sr": "D(SR)",
    }
    for axis, (key, title) in zip(axes.flat, panels.items(), strict=True):
        named = set()
        for row in rows:
            preset = row["run"].rsplit("-", 1)[0]
            lines = [line for line in row["history"] if key in line]
            x = [line["epoch"] / len(lines) for line in lines]
            label = None if preset in named else preset
            named.add(preset)
            axis.plot(x, [line[key] for line in lines], color=COLOURS.get(preset), alpha=0.8, label=label)
        axis.set_title(title)
        axis.grid(alpha=0.3)
        if key == "val_features":
            axis.set_yscale("log")
        elif key.startswith("d_"):
            axis.set_ylim(-0.02, 1.02)
            axis.set_xlabel("share of the adversarial training")
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _strips(pairs, images, out, size=96):
    """A crop of the fullest slice: LR, HR, bicubic, and every run's start, kept and last model."""
    best = max(range(len(pairs)), key=lambda i: pairs[i].hr.std())
    pair = pairs[best]
    top, left = (edge // 2 - size // 2 for edge in pair.hr.shape[:2])
    scale = pair.hr.shape[0] // pair.lr.shape[0]
    shown = {"HR": pair.hr, "LR": interpolate(pair.lr, scale, "nearest")}
    shown.update({name: found[best] for name, found in images.items()})
    columns = 6
    lines = -(-len(shown) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(2.4 * columns, 2.6 * lines), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, image) in zip(axes.flat, shown.items(), strict=False):
        axis.imshow(image[top : top + size, left : left + size], interpolation="nearest")
        axis.set_title(name, fontsize=8)
    figure.tight_layout()
    figure.savefig(out / "images.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
