"""The way that a scan goes, decided once: finer in the plane of its slices, or thick slices made thin."""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from keras_mrisr.errors import ConfigError, ModelError
from keras_mrisr.inference.options import UpscaleOptions
from keras_mrisr.inference.super_resolver import SuperResolver
from keras_mrisr.inference.target_grid import Grid, grid_words, is_thick, plan_grid
from keras_mrisr.inference.through_plane import check_consistency, upscale_through_plane
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver
from keras_mrisr.inference.volume import check_model, stacking_axis, upscale_volume
from keras_mrisr.inference.volume_result import UpscaledVolume, array_factors
from keras_mrisr.types import Progress
from keras_mrisr.volumes import Volume

log = logging.getLogger(__name__)


class BundledModels:
    """The bundled models for whatever comes, each loaded when it is first needed.

    Args:
        in_plane: Loads the one that makes planes finer.
        through_plane: Loads the one that makes thick slices thin; None where there is none.
    """

    def __init__(
        self,
        in_plane: Callable[[], SuperResolver],
        through_plane: Callable[[], ThroughPlaneResolver] | None = None,
    ) -> None:
        self.in_plane = functools.cache(in_plane)
        self._through_plane = None if through_plane is None else functools.cache(through_plane)

    @property
    def has_through_plane(self) -> bool:
        """Whether there is a model that makes thick slices thin."""
        return self._through_plane is not None

    def through_plane(self) -> ThroughPlaneResolver:
        """The model that makes thick slices thin.

        Raises:
            ModelError: There is none.
        """
        if self._through_plane is None:
            raise ModelError("No bundled model makes thick slices thin. Train one and give it with `model`.")
        return self._through_plane()


Resolver = SuperResolver | ThroughPlaneResolver
Models = Resolver | BundledModels


class Way(Protocol):
    """How a scan is upscaled."""

    @property
    def name(self) -> str:
        """What messages call the model."""

    @property
    def protocol(self) -> dict[str, Any]:
        """What the model was trained to undo."""

    def check(self, volume: Volume, options: UpscaleOptions) -> None:
        """Raises DataError where the model cannot upscale it so."""

    def stand_in(self, volume: Volume, options: UpscaleOptions) -> Volume:
        """A `Volume` of the size that the result will have, which takes no memory."""

    def upscale(self, volume: Volume, options: UpscaleOptions, progress: Progress | None) -> UpscaledVolume:
        """Upscales it."""


def way_for(volume: Volume, models: Models, options: UpscaleOptions) -> Way:
    """The way that a scan goes.

    A model of one task decides. Of the bundled ones, that for thick slices is taken where the largest spacing
    is over 1.5 times the smallest, or a spacing is asked for.

    Raises:
        ConfigError: What is asked for is not what the model does.
    """
    if isinstance(models, BundledModels):
        models = models.through_plane() if _goes_through(volume, models, options) else models.in_plane()
    if isinstance(models, ThroughPlaneResolver):
        if options.way == "in-plane":
            raise ConfigError(
                f"{models.name} makes thick slices thin: leave out `way=in-plane`, or give `model` one that "
                "makes planes finer, such as kspace-x2."
            )
        return ThroughPlane(models)
    asked = _asked_of_slices(options) or ("`adapt`" if options.adapt is not None else "")
    if asked:
        raise ConfigError(
            f"{models.name} makes planes finer by {models.info.scale_text}: leave out {asked}, or give "
            "`model` one that makes thick slices thin, such as thick."
        )
    return InPlane(models)


def _asked_of_slices(options: UpscaleOptions) -> str:
    """The option that only a model for thick slices has, as messages name it."""
    if options.way == "through-plane":
        return "`way=through-plane`"
    return next((f"`{name}`" for name in ("spacing", "slice_thickness") if getattr(options, name)), "")


def _goes_through(volume: Volume, models: BundledModels, options: UpscaleOptions) -> bool:
    if options.way is not None:
        return options.way == "through-plane"
    if _asked_of_slices(options):
        return True
    return models.has_through_plane and is_thick(volume)


@dataclasses.dataclass(frozen=True)
class InPlane:
    """Planes made finer; a `Way`."""

    resolver: SuperResolver

    @property
    def name(self) -> str:
        return self.resolver.name

    @property
    def protocol(self) -> dict[str, Any]:
        return dict(self.resolver.info.degradation)

    def check(self, volume: Volume, options: UpscaleOptions) -> None:
        check_model(volume, self.resolver)

    def stand_in(self, volume: Volume, options: UpscaleOptions) -> Volume:
        factors = array_factors(self.resolver, stacking_axis(volume, options.plane))
        return _of_size(volume, [size * by for size, by in zip(volume.shape, factors, strict=True)])

    def upscale(self, volume: Volume, options: UpscaleOptions, progress: Progress | None) -> UpscaledVolume:
        return upscale_volume(
            volume,
            self.resolver,
            options.plane,
            ensemble=options.ensemble,
            uncertainty=options.uncertainty is not None,
            consistency=options.consistency,
            nan=options.nan,
            progress=progress,
        )


@dataclasses.dataclass(frozen=True)
class ThroughPlane:
    """Thick slices made thin; a `Way`."""

    resolver: ThroughPlaneResolver

    @property
    def name(self) -> str:
        return self.resolver.name

    @property
    def protocol(self) -> dict[str, Any]:
        info = self.resolver.info
        return {"name": "thick-slices", "factors": info.factors, "thickness": info.thickness}

    def check(self, volume: Volume, options: UpscaleOptions) -> None:
        check_consistency(volume, _grid(volume, options), options.consistency)

    def stand_in(self, volume: Volume, options: UpscaleOptions) -> Volume:
        return _of_size(volume, _grid(volume, options).shape)

    def upscale(self, volume: Volume, options: UpscaleOptions, progress: Progress | None) -> UpscaledVolume:
        grid = _grid(volume, options)
        log.info("%s", grid_words(volume, grid))
        adapted = self.resolver if options.adapt is None else options.adapt(self.resolver, volume, grid)
        return upscale_through_plane(
            volume,
            adapted,
            options.spacing,
            thickness=options.slice_thickness,
            plane=options.plane,
            ensemble=options.ensemble,
            uncertainty=options.uncertainty is not None,
            consistency=options.consistency,
            nan=options.nan,
            progress=progress,
        )


def _grid(volume: Volume, options: UpscaleOptions) -> Grid:
    return plan_grid(volume, options.spacing, options.slice_thickness, options.plane)


def _of_size(volume: Volume, shape: list[int] | tuple[int, ...]) -> Volume:
    array = np.broadcast_to(volume.array.flat[0], (*shape, *volume.array.shape[3:]))
    return dataclasses.replace(volume, array=array)
