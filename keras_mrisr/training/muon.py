"""Muon for convolutional networks, and the choice of an optimizer by name."""

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mrisr.config_sections import OPTIMIZERS
from keras_mrisr.errors import ConfigError
from keras_mrisr.training.clipping import Adam, WholeGradientClipping
from keras_mrisr.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mrisr")
class ConvMuon(WholeGradientClipping, keras.optimizers.Muon):
    """`keras.optimizers.Muon` that takes the kernels of convolutions as matrices.

    Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks") makes the momentum of
    a matrix of weights nearly orthogonal before it is added, so that all directions learn at the same pace.
    Keras leaves all but matrices to Adam; here the kernel of a convolution, flattened to (kernel elements
    x input channels, output channels), is one. Everything else (biases, slopes, the layers
    that read and write pixels) is left to Adam.

    Args:
        learning_rate: Of the matrices; scaled by the size of each so that Adam's rates do (Liu et al. 2025,
            "Muon is scalable for LLM training").
        weight_decay: Of the matrices, none by default.
        adam_weight_decay: Of everything else, none by default.
        adam_lr_ratio: Learning rate of everything else, as a share.
        exclude_layers: Regular expressions for the paths of variables that are also left to Adam.
        **kwargs: As for `keras.optimizers.Muon`.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        weight_decay: float | None = None,
        adam_weight_decay: float | None = None,
        adam_lr_ratio: float = 0.5,
        exclude_layers: Sequence[str] = ("input_conv", "output_conv"),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            adam_weight_decay=adam_weight_decay,
            adam_lr_ratio=adam_lr_ratio,
            exclude_layers=list(exclude_layers),
            **kwargs,
        )

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        # A kernel has two axes of channels and those of space; slopes of a PReLU have three in all.
        return len(variable.shape) not in (2, 4, 5) or any(
            re.search(pattern, variable.path) for pattern in self.exclude_layers
        )

    def _muon_update_step(
        self, gradient: Tensor, variable: keras.Variable, lr: Tensor, m: keras.Variable
    ) -> None:
        gradient = ops.cast(gradient, variable.dtype)
        self.assign(m, gradient + m * self.momentum)
        update = gradient + m * self.momentum if self.nesterov else m
        matrix = ops.reshape(update, (-1, variable.shape[-1]))
        matrix = self.lr_adjust(self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.cast(lr, variable.dtype) * ops.reshape(matrix, variable.shape))


def scheduled_rate(training: Any, end: float = 0.0) -> Any:
    """The learning rate of an optimizer over all steps.

    Args:
        training: The `training` of a config.
        end: What a cosine ends at, as a share of the rate at the start.
    """
    if training.schedule == "constant":
        return training.learning_rate
    steps = training.epochs * training.steps_per_epoch
    return keras.optimizers.schedules.CosineDecay(training.learning_rate, steps, alpha=end)


def make_optimizer(
    name: str, learning_rate: Any, clip_norm: float = 0.0, optimizer: str = "adam"
) -> keras.optimizers.Optimizer:
    """An optimizer for one network.

    Args:
        name: What it is called in histories.
        learning_rate: A number or a schedule.
        clip_norm: Limit on the norm of the whole gradient, that of all replicas together; 0 for none.
        optimizer: "adam" or "muon" (`ConvMuon`).

    Raises:
        ConfigError: Another optimizer.
    """
    if optimizer not in OPTIMIZERS:
        raise ConfigError(f"Unknown optimizer {optimizer!r}. Known: {', '.join(OPTIMIZERS)}.")
    kind = ConvMuon if optimizer == "muon" else Adam
    return kind(learning_rate, global_clipnorm=clip_norm or None, name=name)
