"""A study: what is searched, around which recipe, for which score. Needs no Keras before it is checked."""

import dataclasses
import functools
import inspect
import pathlib
from collections.abc import Mapping
from typing import Any, Self

import yaml

from keras_mrisr.checks import known, one_of
from keras_mrisr.config import RunConfig, read_yaml
from keras_mrisr.config_base import check_key, sections
from keras_mrisr.errors import ConfigError, MrisrError
from keras_mrisr.files import write_text
from keras_mrisr.presets import DEFAULT_PRESET, adversarial_config, preset_config
from keras_mrisr.tuning.space import SearchSpace
from keras_mrisr.types import PathLike

STUDIES = pathlib.Path(__file__).parent / "studies"
STAGES = ("generator", "adversarial")
OBJECTIVES = ("psnr", "perceptual", "weighted")
# Of both networks' block that many layers deep, as good in VGG16 as in VGG19.
JUDGE_LAYERS = ("block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")
_KEYS = ("stage", "preset", "adversarial", "objective", "judge", "config", "space")


@dataclasses.dataclass(frozen=True)
class Study:
    """What is searched.

    Attributes:
        stage: "generator", or "adversarial" for a generator that is trained already.
        objective: "psnr" (validation PSNR in dB), "perceptual" (see `objective.perceptual_score`) or
            "weighted" (PSNR plus `adversarial.perception` times the perceptual score).
        config: The `RunConfig` that the space varies.
        space: The `SearchSpace`.
        judge: Arguments of `build_features` for the network that the perceptual score looks through; those
            that are left out are the config's `adversarial.features`.
    """

    stage: str
    objective: str
    config: RunConfig
    space: SearchSpace
    judge: dict = dataclasses.field(default_factory=dict)

    def run_config(self, values: Mapping[str, Any]) -> RunConfig:
        """The `RunConfig` of a trial.

        Args:
            values: Dictionary from key of the space to value.

        Raises:
            ConfigError: Values that don't go together.
        """
        return self.config.replace(values)

    def fixed(self, key: str, value: Any) -> Self:
        """The study with one key of the config fixed, whether the space has it or not.

        Raises:
            ConfigError: An unknown key, or a value that it cannot have.
        """
        section, _, option = str(key).partition(".")
        # Where the builder is searched, a new one drops the options of the config's.
        searched = option != "name" and f"{section}.name" in self.space.keys
        space = self.space.fixed(key, value, keep=searched)
        config = self.config if key in space.keys else self.config.replace({key: value})
        return dataclasses.replace(self, config=config, space=space)

    def starting_from(self, init: str) -> Self:
        """The study of runs that start from a trained model: of its generator, scale and degradation.

        Args:
            init: Directory of the model.

        Raises:
            ConfigError: No such model.
        """
        from keras_mrisr.models.storage import load_info

        info = load_info(init)
        degradation = {key: value for key, value in info.degradation.items() if key != "scale"}
        config = self.config.replace(
            {
                "training.init": str(init),
                "generator": info.generator,
                "degradation": degradation,
                "scale": info.factors,
                "data.neighbours": info.neighbours,
            }
        )
        return dataclasses.replace(self, config=config)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, which a study file may hold."""
        flat = {}
        inner = sections(type(self.config))
        for name, value in self.config.to_dict().items():
            flat.update({f"{name}.{key}": value[key] for key in value} if name in inner else {name: value})
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in flat.items()}
        return {
            "stage": self.stage,
            "objective": self.objective,
            "judge": dict(self.judge),
            "config": plain,
            "space": self.space.to_dict(),
        }


def read_study(source: PathLike, fixes: dict[str, Any] | None = None, objective: str | None = None) -> Study:
    """Reads a study file over its preset.

    Args:
        source: Name of a study that ships ("srresnet", "srgan"), or a YAML file.
        fixes: Dictionary of keys that are fixed, see `Study.fixed`.
        objective: Instead of the study's own.

    Returns:
        A `Study`.

    Raises:
        ConfigError: No such study, no valid YAML, an unknown key, a range upside down, a value out of range.
    """
    path = _find(source)
    values = read_yaml(path, "study")
    try:
        study = _from_dict(values)
        if objective is not None:
            one_of("objective", objective, OBJECTIVES)
            study = dataclasses.replace(study, objective=objective)
        for key, value in (fixes or {}).items():
            study = study.fixed(key, value)
        _check_keys(study)
    except MrisrError as error:
        raise ConfigError(f"Study {source}: {error}") from error
    return study


def write_study(study: Study, path: PathLike) -> None:
    """Writes a `Study`, whole or not at all; `read_study` gives an equal one back."""
    write_text(path, yaml.safe_dump(study.to_dict(), sort_keys=False))


def check_study(study: Study) -> None:
    """Tries every end of every range and every value of every choice, one at a time; builds no network.

    Raises:
        ConfigError: A value that no config takes, or an option that no builder has.
    """
    _check_start(study)
    if study.config.dimensions == 3 and study.objective != "psnr":
        raise ConfigError(f"The objective of a 3-D generator is psnr. Received: {study.objective!r}")
    for parameter in study.space.parameters:
        for value in parameter.values or (parameter.low, parameter.high):
            conditions = {other: allowed[0] for other, allowed in parameter.when.items()}
            try:
                check_options(study.run_config({**conditions, parameter.key: value}))
            except MrisrError as error:
                raise ConfigError(f"space: {parameter.key} of {value!r}: {error}") from error
    check_options(study.config)


def _check_start(study: Study) -> None:
    """Raises ConfigError unless the trials start from what their stage and space allow."""
    if study.config.training.init:
        varied = [key for key in study.space.keys if key.split(".")[0] in ("generator", "scale")]
        if varied:
            raise ConfigError(
                f"The study varies {varied[0]}, but runs that start from a trained model have its generator: "
                "fix that key, or leave out `init`."
            )
    elif study.stage == "adversarial" and not study.config.adversarial.pretraining:
        raise ConfigError("An adversarial study starts from a trained generator: give one with `init=RUN`.")


def present_values(study: Study) -> dict[str, Any]:
    """The values that a study's config has now, of the keys that its space varies: the recipe as it stands.

    Returns:
        Dictionary from key to value; an option that is left out has its builder's default. Keys of options
        that the config's builder does not have are missing.
    """
    config, found = study.config.to_dict(), {}
    known_builders = builders(study.config)
    for key in study.space.keys:
        section, _, option = key.rpartition(".")
        place = config
        for part in section.split(".") if section else ():
            place = place[part]
        builder = known_builders.get(section)
        parameters = inspect.signature(builder).parameters if builder else {}
        if option in place:
            found[key] = place[option]
        elif option in parameters and parameters[option].default is not inspect.Parameter.empty:
            found[key] = parameters[option].default
    return found


def builders(config: RunConfig) -> dict[str, Any]:
    """{section of the config: the function or class that takes its options}."""
    from keras_mrisr.degrade.registry import DEGRADATIONS
    from keras_mrisr.models.discriminators import DISCRIMINATORS
    from keras_mrisr.models.features import build_features
    from keras_mrisr.models.registry import GENERATORS

    degradation: Any
    degradation, preset = DEGRADATIONS[config.degradation["name"]]
    return {
        "degradation": functools.partial(degradation, **preset),
        "generator": GENERATORS[config.generator["name"]],
        "adversarial.discriminator": DISCRIMINATORS[config.adversarial.discriminator["name"]],
        "adversarial.features": build_features,
    }


def check_options(config: RunConfig) -> None:
    """Raises ConfigError for options that the builders of a config don't have; builds nothing."""
    from keras_mrisr.degrade import get_degradation
    from keras_mrisr.models.discriminators import DISCRIMINATORS
    from keras_mrisr.models.features import build_features
    from keras_mrisr.models.registry import GENERATORS, check_generator

    check_generator(config.generator["name"], config.scale, config.data.neighbours)
    get_degradation(**{"scale": config.scale, **config.degradation})
    _check_arguments(GENERATORS, config.generator)
    if config.adversarial.on:
        _check_arguments(DISCRIMINATORS, config.adversarial.discriminator)
        _check_arguments({"features": build_features}, {"name": "features", **config.adversarial.features})


def _find(source: PathLike) -> pathlib.Path:
    path, named = pathlib.Path(source), STUDIES / f"{source}.yaml"
    if named.is_file() and not path.is_file():
        return named
    if not path.exists() and not path.suffix:
        shipped = ", ".join(sorted(file.stem for file in STUDIES.glob("*.yaml")))
        raise ConfigError(f"Unknown study {str(source)!r}. Known: {shipped}, or a YAML file.")
    return path


def _from_dict(values: Any) -> Study:
    if not isinstance(values, dict):
        raise ConfigError(f"it must hold keys and values, not {type(values).__name__}.")
    for key in values:
        if key not in _KEYS:
            raise ConfigError(f"unknown key {key!r}. Known: {', '.join(_KEYS)}.")
    stage = values.get("stage", "generator")
    one_of("stage", stage, STAGES)
    objective = values.get("objective", "psnr" if stage == "generator" else "weighted")
    one_of("objective", objective, OBJECTIVES)
    config = preset_config(values.get("preset", DEFAULT_PRESET))
    if stage == "adversarial":
        config = adversarial_config(config, values.get("adversarial", "stable"))
        # Every trial has the same start, so that their scores can be compared.
        config = config.replace({"adversarial.pretraining": {}})
    parts = {key: values.get(key, {}) for key in ("config", "judge")}
    for key, part in parts.items():
        if not isinstance(part, dict):
            raise ConfigError(f"{key} must hold keys and values. Received: {part!r}")
    config = config.replace(parts["config"])
    if config.adversarial.on != (stage == "adversarial"):
        raise ConfigError(f"stage is {stage!r}, but adversarial.on is {config.adversarial.on}.")
    return Study(stage, objective, config, SearchSpace.from_dict(values.get("space", {})), parts["judge"])


def _check_keys(study: Study) -> None:
    """Raises ConfigError unless every key of the space is one that a `RunConfig` has, and may differ."""
    for key in study.space.keys:
        try:
            check_key(RunConfig, str(key))
        except ConfigError as error:
            raise ConfigError(f"space: {error}") from error
        if _decides_score(key):
            raise ConfigError(
                f"space: {key} decides what the trials are scored on, so that their scores could not be "
                "compared. Set it in config instead, and search each value in a study of its own."
            )
    if not study.space.parameters:
        raise ConfigError("space is empty: nothing is left to search.")


def _decides_score(key: str) -> bool:
    if key in ("scale", "training.validation_slices"):
        return True
    return key.split(".")[0] in ("degradation", "data") and key != "data.neighbours"


def _check_arguments(builders: dict[str, Any], options: dict[str, Any]) -> None:
    name = options["name"]
    known("name", name, builders)
    allowed = inspect.signature(builders[name]).parameters
    for key in options:
        if key not in allowed and key != "name":
            raise ConfigError(f"{name!r} has no option {key!r}. It has: {', '.join(allowed)}.")
