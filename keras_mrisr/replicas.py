"""The replicas of a TensorFlow distribution strategy, as seen from one of them."""

from typing import Any


def replica_count() -> int:
    """Number of replicas of the strategy whose scope this is called in; 1 without one."""
    import keras  # Here, so that `registration` can import what needs this module while Keras is imported.

    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_mean(values: Any) -> Any:
    """The mean over replicas of a tensor or of each of a list of tensors; differentiable.

    Outside of a step that replicas take together these are the values themselves.
    """
    if replica_count() == 1:
        return values
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return values if context is None else context.all_reduce(tf.distribute.ReduceOp.MEAN, values)
