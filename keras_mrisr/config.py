"""The configuration of a training run and its YAML round trip."""

import os
import pathlib
import typing
from typing import Any, ClassVar

import pydantic
import yaml
from pydantic import Field

from keras_mrisr.checks import check, one_of
from keras_mrisr.config_base import Config
from keras_mrisr.config_sections import AdversarialConfig, DataConfig, TrainingConfig, check_builder
from keras_mrisr.errors import ConfigError, MrisrError
from keras_mrisr.factors import factors_of, scale_of
from keras_mrisr.files import write_text

__all__ = [
    "AdversarialConfig",
    "DataConfig",
    "RunConfig",
    "TrainingConfig",
    "parse_override",
    "read_config",
    "read_yaml",
    "write_config",
]

SCALES = (2, 3, 4, 8)
FACTORS = (1, 2, 3, 4)  # Of one axis of a volume.


class RunConfig(Config):
    """Everything that decides a training run.

    Attributes:
        scale: 2, 3, 4 or 8; for a 3-D generator the factors (x, y, z) of the axes, each 1 to 4, where z
            goes across the slices.
        degradation: What made LR of HR: "paper", "bicubic", "random-blur", "kspace", "acquisition",
            "random-acquisition", "paired" (LR folders), or "slice-profile" for volumes; name and arguments
            for `get_degradation`.
        generator: Network: "srresnet", "edsr", or "srresnet3d" for volumes; name and options for
            `build_generator`.
        data: A `DataConfig`.
        training: A `TrainingConfig`.
        adversarial: An `AdversarialConfig`.

    Raises:
        ConfigError: A value is out of range; the message names the key and what is allowed.
    """

    scale: int | tuple[int, ...] = 2
    degradation: dict[str, Any] = Field(default={"name": "paper"})
    generator: dict[str, Any] = Field(default={"name": "edsr", "blocks": 16, "filters": 64})
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    adversarial: AdversarialConfig = AdversarialConfig()

    named: ClassVar[tuple[str, ...]] = ("generator", "degradation")

    @pydantic.field_validator("scale", mode="before")
    @classmethod
    def _whole_factors(cls, value: Any) -> Any:
        """YAML and JSON have no tuples; (2, 2) is the scale 2 of slices."""
        parts = value if isinstance(value, list | tuple) else [value]
        for part in parts:
            whole = isinstance(part, int) or (isinstance(part, float) and part.is_integer())
            check(whole and not isinstance(part, bool), "scale", part, "of type int")
        return scale_of([int(part) for part in parts] if isinstance(value, list | tuple) else int(parts[0]))

    @pydantic.field_validator("generator", "degradation")
    @classmethod
    def _check_builders(cls, options: dict[str, Any], info: pydantic.ValidationInfo) -> dict[str, Any]:
        given = ("scale", "channels", "neighbours") if info.field_name == "generator" else ()
        return check_builder(str(info.field_name), options, given)

    @pydantic.model_validator(mode="after")
    def _check(self) -> typing.Self:
        if isinstance(self.scale, tuple):
            self._check_3d(self.scale)
        else:
            one_of("scale", self.scale, SCALES)
        scale = self.degradation.get("scale", self.scale)
        if scale_of(scale) != self.scale:
            raise ConfigError(
                f"degradation.scale must be the scale {self.scale}; leave it out. Received: {scale!r}"
            )
        if self.adversarial.on:
            self._check_adversarial()
        self._check_fresh()
        for factor in self.factors[:2]:
            if self.training.patch_size % factor:
                raise ConfigError(
                    f"training.patch_size must be a multiple of the scale {factor}. "
                    f"Received: {self.training.patch_size}"
                )
        return self

    @property
    def degrades_again(self) -> bool:
        """Whether every patch gets LR of its own, see `training.fresh_patches`."""
        return self.degradation["name"] == "random-acquisition"

    def _check_fresh(self) -> None:
        training = self.training
        given = [name for name in ("rescale", "contrasts") if getattr(training, name)]
        if given and not self.degrades_again:
            raise ConfigError(
                f"training.{given[0]} is for the degradation random-acquisition, drawn again for every "
                f"patch. Received: degradation.name={self.degradation['name']}"
            )
        for name in ("gain", "noise_snr"):
            if self.degrades_again and getattr(training, name) is not None:
                raise ConfigError(
                    f"training.{name} is not for the degradation random-acquisition, which has noise of its "
                    "own; training.contrasts changes brightness."
                )
        if training.rescale is not None and not training.patch_size:
            raise ConfigError("training.rescale needs training.patch_size: slices then differ in size.")

    @property
    def factors(self) -> tuple[int, ...]:
        """The factor of each axis: (2, 2) of the scale 2 of slices, (1, 1, 2) of volumes."""
        return factors_of(self.scale)

    @property
    def dimensions(self) -> int:
        """2 for a generator of slices, 3 for one of volumes."""
        return len(self.factors)

    def _check_adversarial(self) -> None:
        if not self.training.patch_size:
            raise ConfigError("Adversarial training needs training.patch_size. Received: 0 (whole slices)")
        if self.training.loss == "psnr":
            raise ConfigError(
                "training.loss must be mean_absolute_error or mean_squared_error in adversarial training; "
                "'psnr' is for its first stage: adversarial.pretraining. Received: 'psnr'"
            )

    def _check_3d(self, factors: tuple[int, ...]) -> None:
        known = all(factor in FACTORS for factor in factors)
        good = len(factors) == 3 and known and max(factors) > 1
        check(good, "scale", factors, "a number, or three factors of 1 to 4 such as 1,1,2 (3-D)")
        slices_only = {
            "data.separate_channels": self.data.separate_channels,
            "training.noise_snr": self.training.noise_snr is not None,
        }
        for key, given in slices_only.items():
            if given:
                raise ConfigError(f"{key} is for generators of slices. Leave it out.")
        if self.data.neighbours:
            raise ConfigError(
                f"data.neighbours must be 0 for a 3-D generator, which sees all slices. "
                f"Received: {self.data.neighbours}"
            )
        if self.adversarial.on:
            raise ConfigError("Adversarial training is for generators of slices. Give a scale such as 2.")
        if not self.training.patch_size:
            raise ConfigError("A 3-D generator needs training.patch_size. Received: 0 (whole volumes)")
        if self.training.patch_slices % factors[2]:
            raise ConfigError(
                f"training.patch_slices must be a multiple of the scale {factors[2]} across the slices. "
                f"Received: {self.training.patch_slices}"
            )


def read_yaml(path: str | os.PathLike, kind: str) -> Any:
    """What a YAML file holds.

    Args:
        path: The file.
        kind: What it is in messages, such as "config".

    Raises:
        ConfigError: No such file, or no valid YAML.
    """
    try:
        return yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the {kind} {path}: {error.strerror}.") from error
    # ValueError: not UTF-8, or a date such as 2020-13-01; RecursionError: very many brackets.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"The {kind} {path} is not valid YAML: {reason}") from error


Kind = typing.TypeVar("Kind", bound=Config)


@typing.overload
def read_config(path: str | os.PathLike, base: None = None) -> RunConfig: ...
@typing.overload
def read_config(path: str | os.PathLike, base: Kind) -> Kind: ...
def read_config(path: str | os.PathLike, base: Config | None = None) -> Config:
    """Reads a YAML file over `base` (by default `RunConfig()`).

    Raises:
        ConfigError: No such file, no valid YAML, an unknown key or a bad value.
    """
    values = read_yaml(path, "config")
    if not isinstance(values, dict):
        raise ConfigError(f"The config {path} must hold keys and values, not {type(values).__name__}.")
    flat: dict[str, object] = {}
    for key, value in values.items():
        # A named generator or degradation replaces the base's with all its options.
        if isinstance(value, dict) and "name" not in value:
            flat.update({f"{key}.{inner}": value[inner] for inner in value})
        else:
            flat[key] = value
    try:
        return (base or RunConfig()).replace(flat)
    except MrisrError as error:
        raise ConfigError(f"{path}: {error}") from error


def write_config(config: Config, path: str | os.PathLike) -> None:
    """Writes a config as YAML, whole or not at all; `read_config` gives the same one back."""
    write_text(path, yaml.safe_dump(config.to_dict(), sort_keys=False))


def parse_override(text: str) -> tuple[str, Any]:
    """Turns "training.epochs=10" into ("training.epochs", 10); the value is read as YAML."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"Expected KEY=VALUE, such as training.epochs=10. Received: {text!r}")
    try:
        return key.strip(), yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"The value in {text!r} is not valid YAML.") from error
