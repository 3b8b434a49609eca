"""Do features that were fine-tuned on MRI make better super-resolution than ImageNet's?

    mrisr features finetune --data kaggle_3m --network vgg16 --weights VGG16.h5 --out runs/features
    python benchmarks/feature_networks.py --data kaggle_3m --init runs/x2 --network vgg16 \
        --imagenet VGG16.h5 --tuned runs/features/features.h5 --out runs/feature-networks

Trains the adversarial stage of the preset `stable` from one trained generator (--init): with ImageNet's
features, with the fine-tuned ones and without a perceptual loss, from the same seeds, with the same budget
and everything else alike. The layers of the fine-tuned network are weighted so that each starts with the
same loss as ImageNet's: otherwise the comparison would be one of weights. What is scored is the moving
average at the end of each run, for to choose an epoch would take a measure that favours one of them.

Scores are those of the test patients, whom neither the generators nor the features have seen. Each network
favours the generators that were trained with it, so both distances are shown beside measures that are
nobody's. Does it help to find lesions? `mrisr segment evaluate --sr-model tuned=OUT/tuned-0/last.keras ...`
asks a U-Net.

Runs that are finished are not repeated, and a stopped one goes on, so that the work can be spread over
several calls (--arms, --seeds); --report only reads.
"""

import argparse
import dataclasses
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib
import numpy as np

from keras_mrisr.config import parse_override
from keras_mrisr.data import read_dataset, split_patients
from keras_mrisr.data.pipeline import load_pairs
from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.errors import MrisrError
from keras_mrisr.files import write_json, write_text
from keras_mrisr.metrics import gmsd, hfen, psnr, ssim
from keras_mrisr.models.features import build_features
from keras_mrisr.models.storage import load_trained
from keras_mrisr.presets import adversarial_config, preset_config
from keras_mrisr.training import train
from keras_mrisr.training.directory import BACKUP
from keras_mrisr.training.stage import LAST
from keras_mrisr.training.state import read_state
from keras_mrisr.training.strategy import training_precision

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ARMS = ("imagenet", "tuned", "none")
LAYERS = ("block3", "block4", "block5")
# Name: (what better means, digits).
MEASURES = {"PSNR": (1, 2), "SSIM": (1, 4), "GMSD": (-1, 4), "HFEN": (-1, 4), "consistency": (-1, 3)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of the LGG slices")
    parser.add_argument("--init", required=True, type=pathlib.Path, help="trained generator to start from")
    parser.add_argument("--network", default="vgg19", help="vgg19 or vgg16")
    parser.add_argument("--imagenet", default="imagenet", help="its ImageNet weights")
    parser.add_argument("--tuned", required=True, type=pathlib.Path, help="features.h5 of a fine-tuning run")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE over the preset `stable`")
    parser.add_argument("--slices", type=int, default=60, help="test slices that are scored")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()

    dataset = read_dataset(options.data)
    generator, info = load_trained(options.init)
    split = split_patients(dataset.sites)
    _check_unseen(split, info, options)
    if not options.report:
        weights = _equal_weights(_config(options, info, 0), generator, dataset.select(split.val), options)
        for seed in options.seeds:
            for arm in options.arms:
                config = _arm(_config(options, info, seed), arm, weights, options)
                _train(config, options.out / f"{arm}-{seed}", dataset)
    report(options, dataset.select(split.test), generator, info)


def _check_unseen(split, info, options):
    """Ends the program where a patient of the test was trained on by what the comparison starts from."""
    trained = {"--init": info.data["split"]["train"]}
    about = options.tuned.parent / "model.json"
    if about.is_file():
        trained["--tuned"] = json.loads(about.read_text())["data"]["split"]["train"]
    else:
        print(f"{about} is missing: nobody knows which patients {options.tuned} was trained on.")
    for name, patients in trained.items():
        seen = sorted(set(patients) & set(split.test))
        if seen:
            raise SystemExit(f"{name} was trained on the test patient {seen[0]}: use the default split.")


def _config(options, info, seed):
    """The `RunConfig` that all arms share."""
    config = adversarial_config(preset_config("compact"), "stable")
    features = {"network": options.network, "weights": options.imagenet}
    if training_precision(options.precision) == "mixed_bfloat16":
        features["precision"] = "mixed_bfloat16"
    return config.replace(
        {
            "scale": info.scale,
            "degradation": info.degradation,
            "generator": info.generator,
            "data.root": options.data,
            "training.init": str(options.init),
            "training.precision": options.precision,
            "training.epochs": options.epochs,
            "training.steps_per_epoch": max(1, options.steps // options.epochs),
            "training.validation_slices": 12,
            "training.seed": seed,
            "adversarial.pretraining": {},
            "adversarial.ramp": options.steps // 4,
            "adversarial.features": {**config.adversarial.features, **features},
            **dict(parse_override(text) for text in options.set),
        }
    )


def _arm(config, arm, tuned_weights, options):
    if arm == "none":
        return config.replace({"adversarial.perceptual_weight": 0.0})
    if arm == "tuned":
        features = {"weights": str(options.tuned), "layers": tuned_weights}
        return config.replace({"adversarial.features": {**config.adversarial.features, **features}})
    return config


def _equal_weights(config, generator, dataset, options):
    """Weights of the fine-tuned layers under which the start has the same loss as with ImageNet's.

    Kept in a file: a run that goes on needs the very same numbers.
    """
    file = options.out / "layer-weights.json"
    if file.exists():
        return json.loads(file.read_text())
    degradation = get_degradation(**config.degradation)
    pairs = load_pairs(_evenly(dataset, 24), degradation)
    arguments = config.adversarial.features
    one, two = build_features(**arguments), build_features(**{**arguments, "weights": str(options.tuned)})
    loss = {"imagenet": [], "tuned": []}
    predict = _predictor(generator)
    for pair in pairs:
        images = _in_unit_range(pair.hr), _in_unit_range(predict(pair))
        for name, network in (("imagenet", one), ("tuned", two)):
            loss[name].append(list(_distances(network, *images).values()))
    ratios = np.mean(loss["imagenet"], axis=0) / np.mean(loss["tuned"], axis=0)
    scaled = zip(one.layers, one.layer_weights, ratios, strict=True)
    weights = {layer: float(weight * ratio) for layer, weight, ratio in scaled}
    print(f"Weights of the layers: {one.get_config()['layers']} of ImageNet's, {weights} of the tuned ones")
    write_json(file, weights)
    return weights


def _train(config, run, dataset):
    state = read_state(run / BACKUP)
    if (run / "failure.txt").exists() or (state is not None and state.finished):
        return
    print(f"Training {run.name}", flush=True)
    try:
        train(config, run, dataset=dataset, report=_line)
    except MrisrError as error:
        if not str(error).startswith("Training stopped"):
            raise  # No illness but bad input.
        print(f"{run.name}: {error}", flush=True)
        write_text(run / "failure.txt", f"{error}\n")
    keras.backend.clear_session()


def _line(epoch, step, logs):
    if step is None:
        shown = {key: round(float(value), 4) for key, value in logs.items() if key.startswith(("val_", "d_"))}
        print(f"  epoch {epoch}: {shown}", flush=True)


def report(options, test, generator, info):
    """Scores every finished run, prints the table, and writes it with a picture into --out."""
    degradation = get_degradation(**info.degradation)
    pairs = [pair for pair in load_pairs(_evenly(test, options.slices), degradation) if pair.hr.std() > 8]
    networks = {
        "ImageNet": build_features(options.network, LAYERS, options.imagenet),
        "tuned": build_features(options.network, LAYERS, options.tuned),
    }
    scorer = Scorer(pairs, networks, degradation)
    scores = {"bicubic": [scorer(lambda pair: interpolate(pair.lr, info.scale, "bicubic"))]}
    scores["start"] = [scorer(_predictor(generator))]
    seeds = {arm: [] for arm in ARMS}
    for run in sorted(options.out.glob("*-*")):
        arm, _, seed = run.name.rpartition("-")
        state = read_state(run / BACKUP) if arm in ARMS else None
        if state is None or not state.finished:
            continue
        scores.setdefault(arm, []).append(_cached(run / f"scores-{len(pairs)}.npz", scorer, run))
        seeds[arm].append(int(seed))
    failed = [file.parent.name for file in sorted(options.out.glob("*-*/failure.txt"))]
    text = _table(scores, seeds, scorer, options)
    text += f"\nGiven up by the guard: {', '.join(failed) or 'none'}.\n"
    print(text)
    write_text(options.out / "feature-networks.md", text)
    means = {
        name: [{key: float(np.nanmean(values)) for key, values in run.items()} for run in runs]
        for name, runs in scores.items()
    }
    write_json(options.out / "feature-networks.json", {"seeds": seeds, "means": means, "failed": failed})
    _picture(scorer, generator, info, seeds, options.out)


class Scorer:
    """Scores of 8-bit reconstructions, one value a slice."""

    def __init__(self, pairs, networks, degradation):
        self.pairs = pairs
        self.networks = networks
        self.degradation = degradation
        self.patients = np.array([pair.record.patient for pair in pairs])

    def __call__(self, predict):
        """Dictionary from measure to an array (slices,)."""
        rows = [self._slice(pair, predict(pair)) for pair in self.pairs]
        return {key: np.array([row[key] for row in rows]) for key in rows[0]}

    def _slice(self, pair, sr):
        one, two = _in_unit_range(pair.hr), _in_unit_range(sr)
        again = self.degradation.degrade(sr).astype("float64")
        row = {
            "PSNR": psnr(one, two, 1.0)[0],
            "SSIM": ssim(one, two, 1.0)[0],
            "GMSD": gmsd(one, two, 1.0)[0],
            "HFEN": hfen(one, two)[0],
            "consistency": np.sqrt(np.mean((again - pair.lr) ** 2)),
        }
        for name, network in self.networks.items():
            distances = _distances(network, one, two)
            row |= {f"{name} {layer.split('_')[0]}": value for layer, value in distances.items()}
        return {key: float(value) for key, value in row.items()}


def _distances(network, one, two):
    """Mean squared difference of the features of two images, {layer: number}."""
    maps = zip(network.layers, network(one), network(two), strict=True)
    return {layer: float(keras.ops.mean(keras.ops.square(a - b))) for layer, a, b in maps}


def _cached(file, scorer, run):
    if file.exists():
        with np.load(file) as found:
            return dict(found)
    scores = scorer(_predictor(keras.models.load_model(run / LAST, compile=False)))
    np.savez(file, **scores)
    keras.backend.clear_session()
    return scores


def _predictor(generator):
    def predict(pair):
        sr = np.asarray(generator.predict_on_batch(pair.normalizer.normalize(pair.lr)[np.newaxis]))[0]
        return pair.normalizer.restore(np.nan_to_num(sr), np.uint8)

    return predict


def _in_unit_range(image):
    return image[np.newaxis].astype("float32") / 255


def _evenly(dataset, count):
    chosen = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    return dataclasses.replace(dataset, slices=tuple(dataset.slices[i] for i in chosen))


def _table(scores, seeds, scorer, options):
    measures = _told_apart(scores["bicubic"][0])
    lines = [
        f"{len(scorer.pairs)} slices (near-empty ones left out) of {len(set(scorer.patients))} test "
        f"patients, {options.steps} adversarial steps from {options.init.name}, the moving average at the "
        "end, 8 bits. PSNR (dB), SSIM, GMSD, HFEN: RGB, whole slice. consistency: RMS of degrade(SR) - LR in "
        f"grey levels of 255. ImageNet, tuned: feature distance in {options.network} with these weights, "
        "mean squared, features / 12.75. Means over slices; with ± the standard deviation over seeds.",
        "",
        "| | seeds | " + " | ".join(measures) + " |",
        "|" + "---|" * (len(measures) + 2),
    ]
    for name in ("bicubic", "start", *ARMS):
        runs = scores.get(name, ())
        cells = [name, str(len(seeds.get(name, ())) or "")]
        for key in measures if runs else ():
            means = [np.nanmean(run[key]) for run in runs]
            spread = f" ± {_number(key, np.std(means, ddof=1))}" if len(means) > 1 else ""
            cells.append(_number(key, np.mean(means)) + spread)
        lines += ["| " + " | ".join(cells) + " |"] if runs else []
    for arm in ("imagenet", "none"):
        lines += _difference(scores, seeds, scorer, measures, arm)
    lines += ["", "tuned - ...: same seeds and slices; in brackets in how many patients (mean over seeds and "
              "slices) the fine-tuned features are better."]  # fmt: skip
    return "\n".join(lines) + "\n"


def _told_apart(scores):
    """The measures without the layers that fine-tuning left as they were."""
    same = [key for key in scores if key.startswith("tuned ")
            and np.allclose(scores[key], scores[key.replace("tuned", "ImageNet")], rtol=1e-3)]  # fmt: skip
    return [key for key in scores if key not in same]


def _number(measure, value):
    return f"{value:.{MEASURES[measure][1]}f}" if measure in MEASURES else f"{value:.3g}"


def _difference(scores, seeds, scorer, measures, other):
    """The row of what the fine-tuned features change against another arm, as a list of lines."""
    both = sorted(set(seeds["tuned"]) & set(seeds[other]))
    if not both:
        return []
    cells = [f"tuned - {other}", str(len(both))]
    names = sorted(set(scorer.patients))
    for key in measures:
        tuned, others = (
            np.array([scores[arm][seeds[arm].index(seed)][key] for seed in both]) for arm in ("tuned", other)
        )
        sign, digits = MEASURES.get(key, (-1, None))
        better = [sign * np.nanmean((tuned - others)[:, scorer.patients == name]) > 0 for name in names]
        change = np.nanmean(tuned - others)
        text = f"{change:+.{digits}f}" if digits else f"{100 * change / np.nanmean(others):+.1f} %"
        cells.append(f"{text} ({sum(better)}/{len(better)})")
    return ["| " + " | ".join(cells) + " |"]


def _picture(scorer, generator, info, seeds, out, size=96):
    """A crop of the fullest slice: HR, bicubic, the start and the first seed of each arm."""
    pair = max(scorer.pairs, key=lambda pair: pair.hr.std())
    shown = {"HR": pair.hr, "bicubic": interpolate(pair.lr, info.scale, "bicubic")}
    shown["start"] = _predictor(generator)(pair)
    for arm, numbers in seeds.items():
        if numbers:
            run = out / f"{arm}-{numbers[0]}"
            shown[arm] = _predictor(keras.models.load_model(run / LAST, compile=False))(pair)
    top, left = (max(0, edge // 2 - size // 2) for edge in pair.hr.shape[:2])
    figure, axes = plt.subplots(2, len(shown), figsize=(2.4 * len(shown), 5), squeeze=False)
    for column, (name, image) in zip(axes.T, shown.items(), strict=True):
        crop = np.s_[top : top + size, left : left + size]
        error = np.abs(image[crop].astype(int) - pair.hr[crop]).mean(axis=-1)
        bright = np.clip(image[crop] / max(pair.hr[crop].max(), 1), 0, 1)
        column[0].imshow(np.squeeze(bright), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        column[0].set_title(name, fontsize=9)
        column[1].imshow(error, cmap="magma", vmin=0, vmax=32, interpolation="nearest")
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(out / "feature-networks.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
