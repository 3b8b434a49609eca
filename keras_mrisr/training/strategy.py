"""Which devices a run uses, and in which precision."""

import contextlib
import functools
import os
import platform

import keras

from keras_mrisr.errors import InputError


def strategy_scope(name, batch_size):
    """A context in which model and optimizer must be made.

    Args:
        name: "none", or "mirrored" for `tf.distribute.MirroredStrategy` over all visible GPUs.
        batch_size: Patches a batch over all replicas.

    Returns:
        A context manager.

    Raises:
        InputError: The backend is not TensorFlow, or the batch cannot be shared out evenly.
    """
    if name == "none":
        return contextlib.nullcontext()
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"The strategy 'mirrored' needs the TensorFlow backend. Received: {keras.backend.backend()}"
        )
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    strategy = _mirrored(tuple(device.name for device in devices))
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise InputError(
            f"training.batch_size must be a multiple of the {replicas} replicas. Received: {batch_size}"
        )
    return strategy.scope()


@functools.cache
def _mirrored(devices):
    """The strategy of these devices, one in a process: a second one reuses the first one's keys for its
    collective operations, and fails at "Shape mismatch in the collective instance".
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))


def hardware():
    """What the training runs on, in a few words for the model card."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            details = tf.config.experimental.get_device_details(gpus[0])
            return f"{len(gpus)} x {details.get('device_name', 'GPU')}"
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"


@contextlib.contextmanager
def dtype_policy(name):
    """Builds layers under a Keras dtype policy, and puts the old one back."""
    old = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(old)
