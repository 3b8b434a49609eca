"""One optimizer for the two networks of a GAN, each with a rate of its own."""

import numbers
import warnings
from collections.abc import Iterable
from typing import Any

import keras

from keras_mrisr.errors import ConfigError
from keras_mrisr.training.muon import make_optimizer
from keras_mrisr.types import Model

# Of the discriminators of this package: the paths of their layers, and of no generator's.
_OWN_DISCRIMINATOR = "d_.*"


@keras.saving.register_keras_serializable("keras_mrisr")
class Networks(keras.optimizers.OptimizerMap):
    """Finds the optimizer of a variable by the network that it belongs to, whatever its name is.

    `SRGAN.compile` says which variables are the discriminator's, also after loading.
    """

    def bind(self, variables: Iterable[keras.Variable]) -> None:
        """Takes these variables for those of the discriminator."""
        self._discriminator = {id(variable) for variable in variables}

    def __call__(self, variable: keras.Variable) -> keras.optimizers.Optimizer:
        known = getattr(self, "_discriminator", None)
        if known is None:
            return self[variable.path]
        return self[_OWN_DISCRIMINATOR] if id(variable) in known else self.default_optimizer


def gan_optimizer(
    generator: Model | Iterable[keras.Variable] | None = None,
    discriminator: Model | Iterable[keras.Variable] | None = None,
    generator_rate: Any = 1e-4,
    discriminator_rate: Any = 1e-4,
    clip_norm: float = 0.0,
    optimizer: str = "adam",
) -> keras.optimizers.MultiOptimizer:
    """Makes one optimizer for both networks, with rates of their own; the discriminator's is Adam.

    Without the networks, as this function was called before, those of the `SRGAN` that is compiled count.

    Args:
        generator: The generator, or its variables.
        discriminator: The discriminator, or its variables.
        generator_rate: Learning rate of the generator, or a schedule.
        discriminator_rate: Learning rate of the discriminator, or a schedule.
        clip_norm: Limit on the norm of each network's whole gradient; 0 for none.
        optimizer: "adam" or "muon" (`training.muon`): the generator's.

    Raises:
        ConfigError: Another `optimizer`, or only one of the networks.
    """
    if isinstance(generator, str):  # Was the name of the optimizer.
        optimizer, generator = generator, None
    if isinstance(generator, numbers.Real | keras.optimizers.schedules.LearningRateSchedule):
        # The rates stood first, and after them the limit.
        if discriminator is not None:
            discriminator_rate, clip_norm = (
                discriminator,
                generator_rate if generator_rate != 1e-4 else clip_norm,
            )
        generator_rate, generator, discriminator = generator, None, None
    if (generator is None) != (discriminator is None):
        raise ConfigError("gan_optimizer needs both networks: gan_optimizer(generator, discriminator, ...).")
    if generator is None:
        warnings.warn(
            "gan_optimizer takes the two networks first: gan_optimizer(generator, discriminator, "
            "generator_rate=..., discriminator_rate=...).",
            DeprecationWarning,
            stacklevel=2,
        )
    by_network = {_OWN_DISCRIMINATOR: make_optimizer("discriminator_adam", discriminator_rate, clip_norm)}
    networks = Networks(
        make_optimizer(f"generator_{optimizer}", generator_rate, clip_norm, optimizer), by_network
    )
    if discriminator is not None:
        networks.bind(getattr(discriminator, "variables", discriminator))
    return keras.optimizers.MultiOptimizer(networks)


def discriminator_optimizer(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The discriminator's optimizer in what `gan_optimizer` made, also under loss scaling.

    Raises:
        ConfigError: Another optimizer.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(inner, keras.optimizers.MultiOptimizer):
        raise ConfigError(
            f"{type(inner).__name__} is one optimizer for both networks, and discriminator_steps needs them "
            "apart. Compile with gan_optimizer(generator, discriminator, ...)."
        )
    return inner.optimizers[0]
