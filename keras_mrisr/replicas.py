"""The replicas of a model that train on shares of a batch, as seen from one of them.

They are those of a TensorFlow distribution strategy, or the ranks of a job (`keras_mrisr.ranks`).
"""

import functools
from collections.abc import Callable
from typing import Any

from keras_mrisr import ranks


def replica_count() -> int:
    """Number of ranks, or of replicas of the strategy whose scope this is called in; 1 without either."""
    return ranks.rank_count() * _summed()


def gradient_share() -> float:
    """What a replica divides its loss by the inverse of: 1 for ranks, whose gradients are averaged.

    TensorFlow's strategies sum them up.
    """
    return 1.0 / _summed()


def replica_mean(values: Any) -> Any:
    """The mean over replicas of a tensor or of each of a list of tensors; differentiable.

    Outside of a step that replicas take together these are the values themselves.
    """
    if ranks.rank_count() > 1:
        return _mean_over_ranks(values)
    if _summed() == 1:
        return values
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return values if context is None else context.all_reduce(tf.distribute.ReduceOp.MEAN, values)


def random_rows(draw: Callable[..., Any], shape: tuple[Any, ...], *args: Any, **options: Any) -> Any:
    """Random numbers, a row for each sample of a batch, from a function of `keras.random`.

    A rank takes its rows of what one process would draw for the whole batch; each replica of TensorFlow draws
    its own.
    """
    if ranks.rank_count() == 1:
        return draw(shape, *args, **options)
    whole = shape[0] * ranks.rank_count()
    rows = ranks.share(whole)
    return draw((whole, *shape[1:]), *args, **options)[rows.start : rows.stop]


def _summed() -> int:
    """Replicas of a TensorFlow strategy."""
    import keras  # Here, so that `registration` can import what needs this module while Keras is imported.

    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def _mean_over_ranks(values: Any) -> Any:
    """The mean, in one message for all tensors; None stays None."""
    import torch

    several = isinstance(values, list | tuple)
    given = list(values) if several else [values]
    tensors = [value for value in given if value is not None]
    exact = [one.reshape(-1).to(torch.promote_types(one.dtype, torch.float32)) for one in tensors]
    parts = _torch_mean()(torch.cat(exact)).split([one.numel() for one in tensors])
    means = iter([part.reshape(one.shape).to(one.dtype) for part, one in zip(parts, tensors, strict=True)])
    found = [None if value is None else next(means) for value in given]
    return found if several else found[0]


@functools.cache
def _torch_mean() -> Callable[[Any], Any]:
    import torch
    import torch.distributed as dist

    class Mean(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            total = x.detach().clone()
            with ranks.told():
                dist.all_reduce(total)
            return total / ranks.rank_count()

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            # What a rank's part moves is the loss of every rank.
            return Mean.apply(grads[0].contiguous())

    return Mean.apply
