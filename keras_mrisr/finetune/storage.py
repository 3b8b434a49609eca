"""What a fine-tuning leaves: `features.h5` for the perceptual loss, the heads, `model.json`, `card.md`."""

import dataclasses
import pathlib
from typing import Any

from keras_mrisr.files import whole_file, write_json, write_text
from keras_mrisr.finetune.classifier import Classifier
from keras_mrisr.model_info import Description
from keras_mrisr.models.storage import CARD, INFO
from keras_mrisr.models.vgg import read_weights, write_weights
from keras_mrisr.types import PathLike

WEIGHTS = "features.h5"
HEADS = "heads.weights.h5"
HEADS_START = "heads-start.weights.h5"


@dataclasses.dataclass(frozen=True)
class FeaturesInfo(Description):
    """What fine-tuned weights are and where they come from: the contents of `model.json`.

    Attributes:
        network: "vgg19" or "vgg16".
        init: Weights that it started from: "imagenet", "random", or a file name.
        trainable: Blocks that were trained.
        labels: What it learned to tell.
        sequences: Names of the channels, the classes of the label "sequence".
        data: Root, kind and patient pattern of the data, and the split by patient.
        training: Configuration of the run, and what it took.
        metrics: "val" and, once the run is finished, "test": each "tuned", the `score_slices` of
            the weights, and "start", that of the weights which it started from under heads of their own;
            "epoch", "val_score".
        version: Version of keras-mrisr that wrote it.
    """

    network: str
    init: str
    trainable: list
    labels: list
    sequences: list
    data: dict
    training: dict
    metrics: dict = dataclasses.field(default_factory=dict)
    version: str = ""


def save_features(directory: pathlib.Path, classifier: Classifier, info: FeaturesInfo) -> None:
    """Writes the network of a `Classifier`, its heads and what they are; each file whole or not at all."""
    write_weights(classifier.whole, directory / WEIGHTS)
    save_heads(classifier, directory / HEADS)
    save_info(directory, info)


def save_info(directory: pathlib.Path, info: FeaturesInfo) -> None:
    """Writes `card.md` and `model.json` of a `FeaturesInfo`."""
    write_text(directory / CARD, features_card(info))
    write_json(directory / INFO, info.to_dict())


def save_heads(classifier: Classifier, path: PathLike) -> None:
    """Writes the heads of a `Classifier`, whole or not at all."""
    with whole_file(path) as temporary:
        classifier.heads.save_weights(temporary)


def load_features(classifier: Classifier, network: str, weights: Any, heads: PathLike) -> None:
    """Puts weights of the network and of the heads into a `Classifier`.

    Args:
        classifier: The `Classifier`.
        network: "vgg19" or "vgg16".
        weights: See `vgg.read_weights`.
        heads: File that `save_heads` wrote.
    """
    for name, values in read_weights(network, weights).items():
        classifier.whole.get_layer(name).set_weights(values)
    classifier.heads.load_weights(heads)


def features_card(info: FeaturesInfo) -> str:
    """Markdown that says what fine-tuned weights are and how well they tell images apart."""
    split, training, metrics = info.data["split"], info.training, info.metrics
    rows = {
        "network": f"{info.network}, from {info.init}; trained: {', '.join(info.trainable)}",
        "labels": ", ".join(info.labels)
        + (f" ({', '.join(info.sequences)})" if "sequence" in info.labels else ""),
        "data": f"{info.data['root_name']} ({info.data['kind']}), {training['train_slices']} slices of "
        f"{len(split['train'])} patients",
        "held out": f"{len(split['val'])} validation and {len(split['test'])} test patients "
        f"(names in `{INFO}`)",
        "training": f"Adam {training['learning_rate']:g} {training['schedule']}, batch "
        f"{training['batch_size']} slices, {training['image_size']} px, {training['precision']}, seed "
        f"{training['seed']}",
        "taken": f"epoch {metrics['epoch']} of {training['epochs']} ({training['steps_per_epoch']} steps "
        f"each), {training['seconds'] / 60:.0f} minutes so far on {training['hardware']}",
    }
    table = "\n".join(f"| {name} | {text} |" for name, text in rows.items())
    columns, lines = score_rows(metrics)
    scores = "\n".join("| " + " | ".join(line) + " |" for line in [columns, ["---"] * len(columns), *lines])
    return f"""# {info.network} fine-tuned on MRI

Weights for the perceptual loss of keras-mrisr {info.version} (`{WEIGHTS}`). For research; not a medical
device.

| | |
|---|---|
{table}

{scores}

Before / after, of whole slices of patients that were not trained on: the validation patients chose the
epoch, the test patients were looked at once, at the end. Before: the network as it was, with linear heads of
its own. Tumour: from all channels together; grey, and sequence: from one channel as a grey image. Majority:
accuracy of one answer for all. The weights carry the terms of the data that they were trained on and of the
weights that they started from.
"""


_VIEWS = {"tumour": "tumour", "tumour_grey": "tumour, grey", "sequence": "sequence"}
_KINDS = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "auc": "AUC"}


def score_rows(metrics: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The scores as a table, each number as before / after.

    Args:
        metrics: Those of a `FeaturesInfo`.

    Returns:
        (columns, rows), lists of texts.
    """
    columns = ["unseen patients", "images", "majority", *_KINDS.values()]
    rows = []
    for part in ("val", "test"):
        for view, tuned in metrics.get(part, {}).get("tuned", {}).items():
            start = metrics[part]["start"][view]
            row = [f"{part}: {_VIEWS[view]}", str(tuned["images"]), _number(tuned["majority"])]
            rows.append(row + [f"{_number(start[kind])} / {_number(tuned[kind])}" for kind in _KINDS])
    return columns, rows


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f}"
