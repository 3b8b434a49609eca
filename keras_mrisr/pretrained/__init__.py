"""The bundled models: trained, each a model directory of its own in this folder."""

import dataclasses
import functools
import json
import logging
import os
import pathlib
from collections.abc import Sequence

from keras_mrisr.errors import ModelError
from keras_mrisr.model_info import THROUGH_PLANE, ModelInfo, ThroughPlaneInfo
from keras_mrisr.types import PathLike

FOLDER = pathlib.Path(__file__).parent
SCORES = "scores.json"
# Degradations, from those whose undoing does the least to an image that was degraded otherwise.
_ROBUST = "random-acquisition"
_HARMLESS = (
    _ROBUST, "random-blur", "bicubic", "kspace",
    "acquisition", "slice-profile", "paired", "paper",
)  # fmt: skip
_INFO, WEIGHTS = "model.json", "generator.keras"
# What the folder of a model or of an ONNX export holds.
_MARKS = (_INFO, "model.onnx")
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A bundled model.

    Attributes:
        name: What `--model` and `SuperResolver.load` take.
        folder: Its model directory.
        info: Its `ModelInfo`, or `ThroughPlaneInfo` of a model for thick slices.
        scores: Of `pack_model`: rows of scores on patients that it was not trained on; empty if there are
            none.
    """

    name: str
    folder: pathlib.Path
    info: ModelInfo | ThroughPlaneInfo
    scores: tuple

    @property
    def size(self) -> int:
        """Bytes of its weights on disk."""
        return (self.folder / WEIGHTS).stat().st_size

    @property
    def licence(self) -> str:
        """Terms of its weights, in short; empty where `model.json` says nothing."""
        return self.info.data.get("licence", "").split(",")[0].removeprefix("Weights: ")

    @property
    def adversarial(self) -> bool:
        """Whether it was trained against a discriminator, so that it may invent texture."""
        return "adversarial" in self.info.training

    @property
    def purpose(self) -> str:
        """What it undoes, in a few words."""
        if isinstance(self.info, ThroughPlaneInfo):
            least, most = self.info.factors
            return f"thick slices made thin, by {least:g} to {most:g} times, any contrast"
        channels = self.info.image_channels
        images = "any number of channels, one by one" if channels is None else f"{channels} channel(s)"
        kind = ", adversarial" if self.adversarial else ""
        name = self.info.degradation["name"]
        degraded = "degraded in any way" if name == _ROBUST else f"degraded by {name}"
        return f"x{self.info.scale_text}, {images}, {degraded}{kind}"


def held_out_text(patients: Sequence[str], info: ModelInfo | ThroughPlaneInfo) -> str:
    """ "11 held-out patients (5 of 11 chose the epoch)": validation patients are not quite unseen."""
    chose = len(set(patients) & set(info.data.get("split", {}).get("val", ())))
    return f"{len(patients)} held-out patients" + (
        f" ({chose} of {len(patients)} chose the epoch)" if chose else ""
    )


def pretrained_models() -> list[Pretrained]:
    """The bundled models, by name: list of `Pretrained`."""
    return [_read(path.parent) for path in sorted(FOLDER.glob(f"*/{_INFO}"))]


def find_model(model: PathLike) -> pathlib.Path:
    """The path of a model: of a bundled one by its name, or else `model` itself.

    What exists at the path `model` comes first, but for a folder that holds no model.

    Args:
        model: Path of a model directory or file, or the name of a bundled model.

    Returns:
        `pathlib.Path`

    Raises:
        ModelError: There is neither.
    """
    path = pathlib.Path(model)
    folder = FOLDER / path
    is_bundled = len(path.parts) == 1 and not path.is_absolute() and (folder / _INFO).is_file()
    holds_none = path.is_dir() and not any((path / mark).is_file() for mark in _MARKS)
    if path.exists() and not (is_bundled and holds_none):
        if is_bundled:
            _say_once(f"{path}: what lies at this path is taken, not the bundled model of this name")
        return path
    if is_bundled:
        if holds_none:
            _say_once(f"{path}: the folder of this name holds no model; the bundled one is taken")
        return folder
    raise _no_model(model)


def _no_model(model: PathLike) -> ModelError:
    names = [shipped.parent.name for shipped in sorted(FOLDER.glob(f"*/{_INFO}"))]
    known = f", or the name of a bundled one ({', '.join(names)})" if names else ""
    return ModelError(f"No model at {os.fspath(model)}: give the path of a trained model{known}.")


@functools.cache
def _say_once(text: str) -> None:
    log.info(text)


def choose_model(
    scale: int, channels: int, volume: bool = False, consistency: bool = False
) -> tuple[Pretrained, str]:
    """The bundled model for an input, if none is named.

    Of those of the scale it takes one that was not trained adversarially, since that may invent detail, and
    before all others one that was trained for images degraded in any way. Else, colour images, which have the
    three sequences of the LGG data as channels, go to a model of 3 channels, and everything else to one that
    takes any channels one by one. Among several of a kind that one is taken which does the least harm to an
    image of unknown sharpness: what undoes a blur that is not there makes stripes.

    Args:
        scale: Factor of the super-resolution.
        channels: Channels of the image.
        volume: Whether it is a volume, whose contrast may be any.
        consistency: Whether the result shall degrade to the input again, for which the model must undo one
            known degradation.

    Returns:
        (`Pretrained`, a line that says why)

    Raises:
        ModelError: There is none.
    """
    models = _models_of_slices(consistency)
    robust = [pair for pair in models if pair[1].degradation.get("name") == _ROBUST]
    grey_first = volume or channels != 3
    wanted = [None, channels] if grey_first else [channels, None]
    choices = [_first_for(robust, scale, None), *(_first_for(models, scale, kind) for kind in wanted)]
    for one in filter(None, choices):
        return one, _why(one)
    of_colour = [one.name for one, info in models if (info.scale, info.image_channels) == (scale, 3)]
    if of_colour and grey_first:
        raise _only_of_colour(of_colour, scale, volume, consistency)
    raise _none_for(models, scale, channels, consistency)


def _first_for(
    models: list[tuple[Pretrained, ModelInfo]], scale: int, channels: int | None
) -> Pretrained | None:
    """The first of the scale that takes images of so many channels; of None, any channels one by one."""
    fitting = (one for one, info in models if (info.scale, info.image_channels) == (scale, channels))
    return next(fitting, None)


def _only_of_colour(names: list[str], scale: int, volume: bool, consistency: bool) -> ModelError:
    images = "volumes" if volume else "grey images"
    return ModelError(
        f"No bundled model{_for_consistency(consistency)} is for x{scale} and {images}: only RGB slices like "
        f"those of the LGG set have x{scale} ({', '.join(names)}). Choose another `scale`, or train one and "
        "give it with `model`."
    )


def _none_for(
    models: list[tuple[Pretrained, ModelInfo]], scale: int, channels: int, consistency: bool
) -> ModelError:
    names = ", ".join(f"{one.name} ({one.purpose})" for one, _ in models) or "none"
    return ModelError(
        f"No bundled model{_for_consistency(consistency)} is for x{scale} and {channels} channel(s): "
        f"{names}. Train one and give it with `model`."
    )


def _for_consistency(wanted: bool) -> str:
    """Which models count where a result shall degrade to its input again."""
    return " of one known degradation, as `consistency` needs," if wanted else ""


def _models_of_slices(known: bool) -> list[tuple[Pretrained, ModelInfo]]:
    """Those that were not trained adversarially, the least harmful first; only of a known degradation."""
    models = [(one, one.info) for one in pretrained_models() if not one.adversarial]
    found = [(one, info) for one, info in models if isinstance(info, ModelInfo) and info.dimensions == 2]
    names = {one.name: info.degradation.get("name", "paper") for one, info in found}
    found = [pair for pair in found if not known or names[pair[0].name] != _ROBUST]
    return sorted(found, key=lambda pair: _HARMLESS.index(names[pair[0].name]))


def _why(one: Pretrained) -> str:
    """The line about a model that nobody named."""
    terms = f"; weights under {one.licence}" if one.licence else ""
    return f"{one.name} ({one.purpose}){terms}; `model` takes another"


def with_gan_end() -> list[str]:
    """The names of the bundled models for which `perception` may be over 0."""
    found = pretrained_models()
    return [one.name for one in found if isinstance(one.info, ModelInfo) and one.info.perception]


def choose_through_plane() -> tuple[Pretrained, str] | None:
    """The bundled model for thick slices and a line that says which it is, as `choose_model`; or None."""
    for one in pretrained_models():
        if isinstance(one.info, ThroughPlaneInfo) and not one.adversarial:
            return one, _why(one)
    return None


def restores_slices(model: PathLike) -> bool:
    """Whether the `model.json` of a model says that it makes thick slices thin.

    Raises:
        ModelError: There is no model.
    """
    try:
        values = json.loads((find_model(model) / _INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # No model directory, or a broken one, of which who loads it says more.
        return False
    return isinstance(values, dict) and values.get("task") == THROUGH_PLANE


def _read(folder: pathlib.Path) -> Pretrained:
    scores = folder / SCORES
    values = json.loads((folder / _INFO).read_text(encoding="utf-8"))
    kind = ThroughPlaneInfo if values.get("task") == THROUGH_PLANE else ModelInfo
    return Pretrained(
        folder.name,
        folder,
        kind.from_dict(values),
        tuple(json.loads(scores.read_text(encoding="utf-8"))) if scores.is_file() else (),
    )
