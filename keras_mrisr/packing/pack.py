"""From the folder of a run to a model directory that can be handed on."""

import dataclasses
import json
import logging
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import yaml

from keras_mrisr.data import Split
from keras_mrisr.errors import ConfigError, MissingDependencyError, ModelError
from keras_mrisr.files import (
    check_new_directory,
    check_not_source,
    check_only_holds,
    whole_directory,
    write_json,
    write_text,
)
from keras_mrisr.model_info import THROUGH_PLANE, ModelInfo, ThroughPlaneInfo
from keras_mrisr.packing.card import card_sections
from keras_mrisr.packing.scores import check_evaluations, read_scores
from keras_mrisr.packing.weights import halve_weights, largest_difference
from keras_mrisr.pretrained import SCORES, find_model
from keras_mrisr.types import Model, PathLike

CONFIG = "config.yaml"
PICTURE = "failure.jpg"
ONNX = "model.onnx"
PERCEPTION = "perception.npz"  # See `models.perception`, which needs Keras.
FILES = (
    "generator.keras",
    PERCEPTION,
    "finish.keras",
    ONNX,
    "model.json",
    "card.md",
    CONFIG,
    SCORES,
    PICTURE,
)
Info = ModelInfo | ThroughPlaneInfo
# A grey level of 256, on noise, which is harder than any image.
_TOLERANCE = 1 / 255
log = logging.getLogger(__name__)


def pack_model(
    run: PathLike,
    target: PathLike,
    evaluations: Sequence[PathLike] = (),
    *,
    licence: str,
    lr_spacing: tuple[float, float] | None = None,
    lr_size: tuple[float, float] | None = None,
    notes: Sequence[str] = (),
    picture_of: PathLike | None = None,
    gan: PathLike | None = None,
    overwrite: bool = False,
) -> float:
    """Writes a run as a model directory of half its size, with scores and a card.

    The weights are stored in float16 and load as float32; the result is compared with the run's on a
    phantom and on noise. A model of slices is also written as ONNX, with which `mrisr upscale` starts sooner
    and runs faster, where tf2onnx is installed. No path of this machine is taken along, and salted digests
    stand in place of the names of patients (see `Split.anonymised`), by which an evaluation still recognises
    them.

    Args:
        run: Folder that `mrisr train` wrote, or the name of a bundled model.
        target: Folder to write.
        evaluations: Folders that `mrisr evaluate` wrote for this model alone, or for it under the name SR
            beside others.
        licence: Terms of the weights, one line.
        lr_spacing: (least, most) in-plane spacing in mm of LR that it was trained for; others are warned.
        lr_size: (least, most) pixels along an edge of LR that it was trained for.
        notes: What else its users must know, such as known failures: paragraphs of Markdown.
        picture_of: Image file of an HR slice that may be shown, for a picture of what the model makes of a
            degradation that it was made for and of one that it was not.
        gan: Folder of an adversarial training that started from this model, which becomes its GAN end: see
            `models.perception`. Whom that training knows counts as known to the model.
        overwrite: Replace an earlier one.

    Returns:
        The largest difference of the packed model from the run, on the scale where an image is 0 to 1.

    Raises:
        ModelError: No such run or evaluation, an evaluation of another model, or a difference that could be
            seen.
        ConfigError: The bounds of `lr_spacing` or `lr_size` are none.
        DataError: The target exists, holds something else, or cannot be written.
    """
    from keras_mrisr.models.storage import CARD, WEIGHTS, load_description

    source, target = find_model(run), pathlib.Path(target)
    check_new_directory(target, overwrite)
    check_only_holds(target, FILES)
    check_not_source(target, source)
    domain = _domain(lr_spacing=lr_spacing, lr_size=lr_size)
    networks, info = _load(source)
    if picture_of is not None and isinstance(info, ThroughPlaneInfo):
        raise ConfigError("`picture_of` is for models that make planes finer. Leave it out.")
    end = _gan_end(gan, networks, info)
    config = _config_without_paths(source)
    check_evaluations(evaluations, source, info)
    info = _without_names(info, licence, domain)
    info = _with_end(info, end)
    scores = _stored_scores(evaluations, source, Split.from_dict(info.data["split"]))
    with whole_directory(target, overwrite) as folder:
        packed = {name: _halve(source, folder, name) for name in networks if name != PERCEPTION}
        if PERCEPTION in networks:
            packed[PERCEPTION] = _pack_end(folder / PERCEPTION, packed[WEIGHTS], networks[PERCEPTION], info)
        difference = max(largest_difference(networks[name], one) for name, one in packed.items())
        if not difference <= _TOLERANCE:
            raise ModelError(f"In float16 {source} differs by {difference:.2g}: it was not packed.")
        if picture_of is not None and isinstance(info, ModelInfo):
            notes = [*notes, _picture(networks[WEIGHTS], info, picture_of, folder / PICTURE)]
        if isinstance(info, ModelInfo) and info.dimensions == 2:
            _write_onnx(packed[WEIGHTS], info, folder / ONNX)
        write_text(folder / CONFIG, yaml.safe_dump(config, sort_keys=False))
        write_json(folder / SCORES, scores)
        write_text(folder / CARD, _card(info) + card_sections(info, scores, difference, notes, CONFIG))
        write_json(folder / "model.json", info.to_dict())
    load_description(target, type(info))
    return difference


def _stored_scores(
    evaluations: Sequence[PathLike], source: pathlib.Path, split: Split
) -> list[dict[str, Any]]:
    """The scores of evaluations, with the patients' digests in place of their names; or those it has."""
    if not evaluations and (source / SCORES).is_file():
        rows: list[dict[str, Any]] = json.loads((source / SCORES).read_text(encoding="utf-8"))
        return rows
    rows = [row for folder in evaluations for row in read_scores(folder)]
    return [{**row, "patients": list(map(split.stored_name, row["patients"]))} for row in rows]


def _gan_end(gan: PathLike | None, networks: dict[str, Model], info: Info) -> ModelInfo | None:
    """Adds the network of an adversarial run, if it can be the end of this model, and describes it."""
    if gan is None:
        return None
    from keras_mrisr.models.perception import check_ends
    from keras_mrisr.models.storage import WEIGHTS, load_trained

    if not isinstance(info, ModelInfo):
        raise ConfigError("`gan` is for models that make planes finer. Leave it out.")
    network, other = load_trained(gan)
    same = ("factors", "channels", "neighbours", "degradation")
    differ = [key for key in same if getattr(info, key) != getattr(other, key)]
    if differ or "adversarial" not in other.training:
        what = f"is of another {differ[0]}" if differ else "was not trained adversarially"
        raise ModelError(f"{gan} {what}: give the run of a GAN that started from this model.")
    check_ends(networks[WEIGHTS], network)
    networks[PERCEPTION] = network
    return other


def _with_end(info: Info, end: ModelInfo | None) -> Info:
    """The description of a model with its GAN end, to which the training patients of both are known."""
    from keras_mrisr.models.perception import gan_end

    if end is None or not isinstance(info, ModelInfo):
        return info
    split, other = Split.from_dict(info.data["split"]), Split.from_dict(end.data["split"])
    if other.salt and other.salt != split.salt:
        raise ModelError(
            "The GAN's patients have no names any more: give its run, not what was packed of it."
        )
    taught = [name if other.salt else split.stored_name(name) for name in other.train]
    held_out = {*split.val, *split.test} & set(taught)
    if held_out:
        raise ModelError(
            f"The GAN was trained on {len(held_out)} of the patients that the model holds out: train it with "
            "the split of the model."
        )
    split = dataclasses.replace(split, train=tuple({*split.train, *taught}))
    end = dataclasses.replace(end, training=_without_paths(end.training))
    return dataclasses.replace(info, data={**info.data, "split": split.to_dict()}, perception=gan_end(end))


def _write_onnx(generator: Model, info: ModelInfo, path: pathlib.Path) -> None:
    """Writes the network for `mrisr upscale` without TensorFlow, where what converts it is installed."""
    try:
        from keras_mrisr.export.packed import write_packed_onnx

        write_packed_onnx(generator, info, path)
    except (ImportError, MissingDependencyError) as error:
        log.warning(
            "The model is packed without %s, and needs TensorFlow to run: %s. For the network: pip install "
            "onnx tf2onnx onnxruntime",
            path.name, error,
        )  # fmt: skip


def _halve(source: pathlib.Path, folder: pathlib.Path, name: str) -> Model:
    """Writes a network of a run in half its size, and loads it again."""
    from keras_mrisr.models.storage import load_network

    halve_weights((source.parent if source.suffix == ".keras" else source) / name, folder / name)
    return load_network(folder / name)


def _pack_end(path: pathlib.Path, fidelity: Model, gan: Model, info: Info) -> Model:
    """Writes what of a GAN end is not the packed fidelity model's, and loads the end again."""
    from keras_mrisr.models.perception import load_gan_end, save_gan_end

    assert isinstance(info, ModelInfo)  # See `_gan_end`.
    save_gan_end(path, fidelity, gan)
    return load_gan_end(path, fidelity, info)


def _load(source: pathlib.Path) -> tuple[dict[str, Model], Info]:
    """The networks of a run of any task by the names of their files, and what it is."""
    from keras_mrisr.models.perception import load_gan_end
    from keras_mrisr.models.storage import (
        FINISH,
        INFO,
        WEIGHTS,
        load_description,
        load_network,
        load_trained,
    )

    folder = source.parent if source.suffix == ".keras" else source
    try:
        task = json.loads((folder / INFO).read_text(encoding="utf-8")).get("task")
    except (OSError, ValueError, AttributeError):
        task = None  # What is wrong there is said when it is loaded.
    if task != THROUGH_PLANE:
        generator, info = load_trained(source)
        if not info.perception:
            return {WEIGHTS: generator}, info
        return {WEIGHTS: generator, PERCEPTION: load_gan_end(folder / PERCEPTION, generator, info)}, info
    thin = load_description(source, ThroughPlaneInfo)
    names = (WEIGHTS, FINISH) if thin.finish else (WEIGHTS,)
    return {name: load_network(folder / name) for name in names}, thin


def _card(info: Info) -> str:
    from keras_mrisr.training.card import model_card, through_plane_card

    return model_card(info) if isinstance(info, ModelInfo) else through_plane_card(info)


def _domain(**bounds: tuple[float, float] | None) -> dict[str, list[float]]:
    """What `model.json` says of the LR that a model is made for."""
    for name, pair in bounds.items():
        if pair and not 0 < pair[0] <= pair[1] < math.inf:
            raise ConfigError(
                f"`{name}` takes the least and the most, both over 0. Received: {pair[0]:g} {pair[1]:g}"
            )
    return {name: list(map(float, pair)) for name, pair in bounds.items() if pair}


def _without_names(info: Info, licence: str, domain: dict[str, list[float]]) -> Info:
    """The description without names of patients and without the path of a model that it began with."""
    training = _without_paths(info.training)
    split = Split.from_dict(info.data["split"]).anonymised().to_dict()
    domain = {**info.data.get("domain", {}), **domain}
    data = {**info.data, "split": split, "licence": licence, "domain": domain}
    return dataclasses.replace(info, data=data, training=training)


def _without_paths(training: dict[str, Any]) -> dict[str, Any]:
    """A description of a training without the path of a model that it began with."""
    init = training.get("init")
    return {**training, "init": pathlib.Path(init).name} if init else dict(training)


def _picture(generator: Model, info: ModelInfo, source: PathLike, target: pathlib.Path) -> str:
    """Draws the picture; returns what the card says of it."""
    from keras_mrisr.inference import SuperResolver
    from keras_mrisr.packing.picture import draw_failure

    resolver = SuperResolver(generator, info)
    resolver.warns = False  # It is to be seen failing.
    own, other = draw_failure(resolver, source, target)
    return (
        f"![A slice degraded by {own} and by {other}, upscaled by interpolation and by this model, with "
        f"errors]({target.name})\n\nAbove, a slice degraded by `{own}`, which this model undoes; below, the "
        f"same slice degraded by `{other}`, which it was not made for.\n"
    )


def _config_without_paths(run: pathlib.Path) -> dict[str, Any]:
    """The run's config without its paths, nor models to start from: these are not packed."""
    source = run / CONFIG
    if not source.is_file():
        raise ModelError(f"{run} holds no {CONFIG}. Give a folder that mrisr train wrote.")
    config: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
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
    return config
