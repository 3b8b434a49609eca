"""A run made small enough to come with the package or to be handed on, with a card made of its own files."""

import dataclasses
import json
import math
import pathlib
import zipfile

import numpy as np
import yaml

from keras_mrisr.errors import ModelError
from keras_mrisr.evaluation.protocol import SR
from keras_mrisr.files import check_new_directory, check_only_holds, whole_directory, write_json, write_text
from keras_mrisr.pretrained import SCORES, find_model, held_out_text

CONFIG = "config.yaml"
PICTURE = "failure.jpg"
FILES = ("generator.keras", "model.json", "card.md", CONFIG, SCORES, PICTURE)
# Metric: its heading and format in the card.
_SCORED = {
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
    "features": ("VGG distance", "{:.3g}"),
    "lpips": ("LPIPS", "{:.4f}"),
}
_ARCHIVED = "model.weights.h5"
# A grey level of 256, on noise, which is harder than any image.
_TOLERANCE = 1 / 255


def pack_model(
    run,
    target,
    evaluations=(),
    *,
    licence,
    lr_spacing=None,
    lr_size=None,
    notes=(),
    picture_of=None,
    overwrite=False,
):
    """Writes a run as a model directory of half its size, with scores and a card.

    The weights are stored in float16 and load as float32; the result is compared with the run's on a
    phantom and on noise. No path of this machine is taken along.

    Args:
        run: Folder that `mrisr train` wrote, or the name of a model that comes with the package.
        target: Folder to write.
        evaluations: Folders that `mrisr evaluate` wrote for this model alone, or for it under the name SR
            beside others.
        licence: Terms of the weights, one line.
        lr_spacing: (least, most) in-plane spacing in mm of LR that it was trained for; others are warned.
        lr_size: (least, most) pixels along an edge of LR that it was trained for.
        notes: What else its users must know, such as known failures: paragraphs of Markdown.
        picture_of: Image file of an HR slice that may be shown, for a picture of what the model makes of a
            degradation that it was made for and of one that it was not.
        overwrite: Replace an earlier one.

    Returns:
        The largest difference of the packed model from the run, on the scale where an image is 0 to 1.

    Raises:
        ModelError: No such run or evaluation, an evaluation of another model, bounds that are none, or a
            difference that could be seen.
    """
    from keras_mrisr.models.storage import CARD, WEIGHTS, load_info, load_network, load_trained
    from keras_mrisr.training.card import model_card

    run, target = find_model(run), pathlib.Path(target)
    check_new_directory(target, overwrite)
    check_only_holds(target, FILES)
    domain = _domain(lr_spacing=lr_spacing, lr_size=lr_size)
    generator, info = load_trained(run)
    scores = [row for folder in evaluations for row in read_scores(folder)]
    check_evaluations(evaluations, run, info)
    training = dict(info.training)
    if training.get("init"):
        training["init"] = pathlib.Path(training["init"]).name
    data = {**info.data, "licence": licence, "domain": domain}
    info = dataclasses.replace(info, data=data, training=training)
    with whole_directory(target, overwrite) as folder:
        halve_weights((run.parent if run.suffix == ".keras" else run) / WEIGHTS, folder / WEIGHTS)
        difference = _difference(generator, load_network(folder / WEIGHTS))
        if not difference <= _TOLERANCE:
            raise ModelError(f"In float16 {run} differs by {difference:.2g}: it was not packed.")
        if picture_of is not None:
            notes = [*notes, _picture(generator, info, picture_of, folder / PICTURE)]
        _copy_config(run, folder)
        write_json(folder / SCORES, scores)
        write_text(folder / CARD, model_card(info) + card_sections(info, scores, difference, notes))
        write_json(folder / "model.json", info.to_dict())
    load_info(target)
    return difference


def _domain(**bounds):
    """What `model.json` says of the LR that a model is made for."""
    for name, pair in bounds.items():
        if pair and not 0 < pair[0] <= pair[1] < math.inf:
            raise ModelError(
                f"--{name.replace('_', '-')} takes the least and the most, both over 0. "
                f"Received: {pair[0]:g} {pair[1]:g}"
            )
    return {name: list(map(float, pair)) for name, pair in bounds.items() if pair}


def halve_weights(source, target):
    """Copies a `.keras` file with its float32 weights as float16; Keras loads it as it loads the source."""
    import h5py

    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            if entry != _ARCHIVED:
                new.writestr(entry, old.read(entry))
        weights = target.with_name("weights.h5")
        try:
            weights.write_bytes(old.read(_ARCHIVED))
            names = []
            with h5py.File(weights, "r") as file:
                file.visititems(
                    lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
                )
            with h5py.File(weights, "r+") as file:
                halved = {name: file[name][()] for name in names if file[name].dtype == np.float32}
                for name, array in halved.items():
                    attributes = dict(file[name].attrs)
                    del file[name]
                    file[name] = array.astype("float16")
                    file[name].attrs.update(attributes)
            # HDF5 keeps the room of what was deleted: only a new file is small.
            small = target.with_name("small.h5")
            with h5py.File(weights, "r") as full, h5py.File(small, "w") as lean:
                for key in full:
                    full.copy(key, lean)
                lean.attrs.update(full.attrs)
            new.write(small, _ARCHIVED)
        finally:
            weights.unlink(missing_ok=True)
            target.with_name("small.h5").unlink(missing_ok=True)


def read_scores(folder):
    """Rows of an evaluation for a table: means of each method over whole slices.

    Args:
        folder: What `mrisr evaluate` wrote.

    Returns:
        List of {"degradation", "part", "patients", "images", "channel", "method", "psnr", "ssim", "hr",
        "lr", "sr", "averaging"}, and "features" and "lpips" where these were taken; the model itself is "SR".

    Raises:
        ModelError: No evaluation, or one of several models of which none is called SR.
    """
    protocol, summary, own = _read_evaluation(folder)
    rows = {}
    for row in summary:
        if row["region"] == "whole" and row["metric"] in _SCORED:
            method = SR if row["method"] == own else row["method"]
            rows.setdefault((method, row["channel"]), {})[row["metric"]] = row["image_mean"]
    facts = {
        "degradation": protocol["degradation"]["name"],
        "part": protocol["part"],
        "patients": list(protocol["patients"]),
        "images": protocol["images"],
        **{key: protocol[key] for key in ("hr", "lr", "sr", "averaging")},
    }
    return [{**facts, "method": key[0], "channel": key[1], **values} for key, values in rows.items()]


def check_evaluations(folders, run, info):
    """Raises ModelError for evaluations of another model than `run`, or none of its own degradation.

    Args:
        folders: What `mrisr evaluate` wrote.
        run: Folder of the model.
        info: Its `ModelInfo`.
    """
    name = run.resolve().name
    scale = list(info.factors) or info.scale
    trained = set(info.data.get("split", {}).get("train", ()))
    degradations = []
    for folder in folders:
        protocol, _, own = _read_evaluation(folder)
        source = pathlib.Path(protocol["methods"][own])
        source = source.parent if source.suffix == ".keras" else source
        if protocol["scale"] != scale or source.name not in (name, "", ".."):
            raise ModelError(
                f"{folder} is an evaluation of {source} at scale {protocol['scale']}, not of {name} at scale "
                f"{scale}: evaluate the model that is packed."
            )
        if trained & set(protocol["patients"]):
            raise ModelError(f"{folder} scores patients that {name} was trained on: evaluate it on others.")
        degradations.append(protocol["degradation"])
    if folders and info.degradation not in degradations:
        raise ModelError(
            f"No evaluation has the degradation that {name} undoes ({info.degradation['name']}): evaluate it "
            "without --degradation, too."
        )


def _read_evaluation(folder):
    """(protocol, summary, name of the model in it) of what `mrisr evaluate` wrote."""
    path = pathlib.Path(folder) / "metrics.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        protocol, summary = result["protocol"], result["summary"]
        models = [name for name in protocol["methods"] if name not in protocol["interpolations"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{folder} holds no metrics.json of mrisr evaluate.") from None
    if len(models) != 1 and SR not in models:
        raise ModelError(
            f"{folder} compares {', '.join(models)}: pack needs an evaluation of one model, or one in which "
            f"it is called {SR} (--model {SR}=RUN)."
        )
    return protocol, summary, SR if SR in models else models[0]


def card_sections(info, scores, difference, notes):
    """What a card of a model that is handed on says besides `model_card`: scores, terms, limits."""
    parts = [_score_table(scores, info)] if scores else []
    domain = info.data["domain"]
    limits = []
    if "lr_size" in domain:
        limits.append("LR edges of {:g} to {:g} pixels".format(*domain["lr_size"]))
    if "lr_spacing" in domain:
        limits.append("LR in-plane spacing of {:g} to {:g} mm".format(*domain["lr_spacing"]))
    if limits:
        parts.append(f"## Made for\n\n{'; '.join(limits)}. `mrisr upscale` warns about others.\n")
    parts += list(notes)
    held_out = ", ".join((*info.data["split"]["val"], *info.data["split"]["test"]))
    parts.append(
        "## Must not be used for\n\nDiagnosis, measurement of lesions, or anything else that decides about a "
        "patient; showing detail as if it had been measured; images of another organ.\n"
    )
    parts.append(
        f"## Terms, and how it was made\n\n{info.data['licence']}\n\nNever trained on: {held_out}.\n\n"
        f"{_recipe(info.training)} `mrisr train --config FOLDER/{CONFIG} --data ROOT --out RUN`, with the "
        "FOLDER that `mrisr models show` names. Weights are stored in float16, which changes the result by "
        f"{difference:.1g} at most (white is 1).\n"
    )
    return "\n" + "\n".join(parts)


def _recipe(training):
    """What the config that comes along is, from the run's `training` in `model.json`."""
    pretraining = training.get("adversarial", {}).get("pretraining") or {}
    init = training.get("init") or pretraining.get("init")
    if not init:
        return f"`{CONFIG}` is the whole recipe:"
    return (
        f"These weights began as those of `{init}`, which does not come along. `{CONFIG}` trains such a "
        "model from the beginning:"
    )


def _score_table(scores, info):
    text = ["## Scores\n"]
    for degradation in dict.fromkeys(row["degradation"] for row in scores):
        rows = [row for row in scores if row["degradation"] == degradation]
        first = rows[0]
        text.append(
            f"Degraded by `{degradation}`, {first['images']} whole slices of "
            f"{held_out_text(first['patients'], info)}; HR {first['hr']}; LR {first['lr']}; "
            f"SR {first['sr']}; {first['averaging']}; here the mean over images:\n"
        )
        shown = [name for name in _SCORED if any(name in row for row in rows)]
        text.append(" | ".join(["| method | channels", *(_SCORED[name][0] for name in shown)]) + " |")
        text.append("|---" * (len(shown) + 2) + "|")
        for row in rows:
            values = (_SCORED[name][1].format(row[name]) if name in row else "" for name in shown)
            text.append(" | ".join([f"| {row['method']} | {row['channel']}", *values]) + " |")
        text.append("")
    return "\n".join(text)


def _picture(generator, info, source, target):
    """Draws the picture; returns what the card says of it."""
    from keras_mrisr.inference import SuperResolver
    from keras_mrisr.pretrained.picture import draw_failure

    resolver = SuperResolver(generator, info)
    resolver.warns = False  # It is to be seen failing.
    own, other = draw_failure(resolver, source, target)
    return (
        f"![A slice degraded by {own} and by {other}, upscaled by interpolation and by this model, with "
        f"errors]({target.name})\n\nAbove, a slice degraded by `{own}`, which this model undoes; below, the "
        f"same slice degraded by `{other}`, which it was not made for.\n"
    )


def _difference(generator, other):
    rng = np.random.default_rng(0)
    edges = (24,) * (len(generator.input_shape) - 2)
    noise = rng.random((2, *edges, generator.input_shape[-1]), dtype="float32")
    smooth = np.cumsum(noise, axis=1) / np.arange(1, edges[0] + 1).reshape(-1, *[1] * len(edges))
    worst = 0.0
    for batch in (noise, smooth.astype("float32")):
        results = [np.asarray(network(batch, training=False)) for network in (generator, other)]
        worst = max(worst, float(np.max(np.abs(results[0] - results[1]))))
    return worst


def _copy_config(run, folder):
    """Copies the run's config without its paths, nor models to start from: these do not come along."""
    source = run / CONFIG
    if not source.is_file():
        raise ModelError(f"{run} holds no {CONFIG}. Give a folder that mrisr train wrote.")
    config = yaml.safe_load(source.read_text(encoding="utf-8"))
    config["data"].pop("root", None)
    adversarial = config.get("adversarial") or {}
    for section in (config["training"], adversarial.get("pretraining") or {}):
        if section.get("init"):
            section["init"] = None
    for section, key in (
        (adversarial.get("features") or {}, "weights"),
        (adversarial, "segmentation_model"),
    ):
        if section.get(key):
            section[key] = pathlib.Path(section[key]).name
    write_text(folder / CONFIG, yaml.safe_dump(config, sort_keys=False))
