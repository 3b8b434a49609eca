"""The one place that takes gradients by hand: for TensorFlow and for PyTorch."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_mrisr import ranks
from keras_mrisr.errors import ConfigError
from keras_mrisr.replicas import replica_mean
from keras_mrisr.types import Tensor


def gradients(
    function: Callable[[], tuple[Any, Any]], *groups: Sequence[keras.Variable]
) -> tuple[list[list[Tensor]], Any]:
    """Gradients of several losses, each with respect to variables of its own, from one forward pass.

    Args:
        function: Function without arguments that returns (losses, rest): a tuple of as many scalar
            tensors as there are groups, and anything.
        *groups: Lists of `keras.Variable`, one a loss.

    Returns:
        (gradients, rest): a list of gradient lists, zeros where a loss does not depend on a variable,
        and what the function returned beside the losses. The gradients are means over the
        replicas or ranks.
    """
    found, rest = _backend()[0](function, groups)
    return [replica_mean(grads) for grads in found], rest


def average_over_ranks(model: keras.Model) -> None:
    """Makes `fit` average the gradients over the ranks of a job, before anything looks at them.

    For compiled models whose gradients Keras takes; a model with a `train_step` of its own uses `gradients`.
    """
    if ranks.rank_count() == 1 or type(model).train_step is not keras.Model.train_step:
        return
    apply = model.optimizer.apply

    def averaged(grads: Any, trainable_variables: Any = None) -> None:
        apply(replica_mean(grads), trainable_variables)

    # Not in the optimizer's class: loss scaling, which wraps it, must see what all ranks see.
    model.optimizer.apply = averaged


def input_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The gradient of `sum(function(x))` with respect to `x`, itself differentiable."""
    return _backend()[1](function, x)


def output_gradients(
    function: Callable[[Tensor], tuple[Sequence[Tensor], Any]], x: Tensor
) -> tuple[list[Tensor], Any]:
    """Gradients of several losses with respect to one tensor, from one forward pass.

    For use within `gradients`, where what the function returns stays differentiable by variables that it
    depends on otherwise; the gradients themselves are constants.

    Args:
        function: Function of a tensor like `x` that returns (losses, rest): scalar tensors, and anything.
        x: Where the gradients are taken.

    Returns:
        (gradients, rest): one tensor like `x` a loss, zeros where it does not depend on it, and what the
        function returned beside the losses.
    """
    return _backend()[2](function, x)


def without_gradients() -> contextlib.AbstractContextManager[Any]:
    """A context for assignments to variables; PyTorch would track them."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()
    return contextlib.nullcontext()


def _backend() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    name = keras.backend.backend()
    if name not in _BACKENDS:
        raise ConfigError(
            f"Adversarial training runs on the backends {' and '.join(_BACKENDS)}. "
            f"Received: KERAS_BACKEND={name}"
        )
    return _BACKENDS[name]


def _tensorflow_gradients(function: Any, groups: Any) -> Any:
    import tensorflow as tf

    with tf.GradientTape(persistent=True) as tape:
        losses, rest = function()
    found = []
    for loss, variables in zip(losses, groups, strict=True):
        values = [variable.value for variable in variables]
        grads = tape.gradient(loss, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        found.append([tf.convert_to_tensor(grad) for grad in grads])
    return found, rest


def _tensorflow_input_gradient(function: Any, x: Tensor) -> Tensor:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        total = ops.sum(function(x))
    return tape.gradient(total, x)


def _torch_gradients(function: Any, groups: Any) -> Any:
    import torch

    losses, rest = function()
    found = []
    for loss, variables in zip(losses, groups, strict=True):
        values = [variable.value for variable in variables]
        grads = torch.autograd.grad(loss, values, retain_graph=True, allow_unused=True)
        pairs = zip(grads, values, strict=True)
        found.append([torch.zeros_like(value) if grad is None else grad for grad, value in pairs])
    return found, rest


def _torch_input_gradient(function: Any, x: Tensor) -> Tensor:
    import torch

    x = x.detach().requires_grad_(True)
    return torch.autograd.grad(ops.sum(function(x)), x, create_graph=True)[0]


def _tensorflow_output_gradients(function: Any, x: Tensor) -> Any:
    import tensorflow as tf

    x = tf.stop_gradient(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        losses, rest = function(x)
    zero = tf.UnconnectedGradients.ZERO
    grads = [tape.gradient(loss, x, unconnected_gradients=zero) for loss in losses]
    return [tf.stop_gradient(grad) for grad in grads], rest


def _torch_output_gradients(function: Any, x: Tensor) -> Any:
    import torch

    x = x.detach().requires_grad_(True)
    losses, rest = function(x)
    grads = [
        torch.autograd.grad(loss, x, retain_graph=True, allow_unused=True)[0] if loss.requires_grad else None
        for loss in losses
    ]
    return [torch.zeros_like(x) if grad is None else grad for grad in grads], rest


_BACKENDS = {
    "tensorflow": (_tensorflow_gradients, _tensorflow_input_gradient, _tensorflow_output_gradients),
    "torch": (_torch_gradients, _torch_input_gradient, _torch_output_gradients),
}
