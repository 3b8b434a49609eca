"""Which devices a run uses, and in which precision."""

import contextlib
import functools
import logging
import math
import operator
import os
import pathlib
import platform
import re
from collections.abc import Iterator
from typing import Any

import keras

from keras_mrisr import ranks
from keras_mrisr.config import RunConfig
from keras_mrisr.errors import ConfigError

log = logging.getLogger(__name__)

CPU_INFO = pathlib.Path("/proc/cpuinfo")


def strategy_scope(name: str, batch_size: int) -> contextlib.AbstractContextManager[Any]:
    """A context in which model and optimizer must be made.

    Args:
        name: "none", "mirrored" for `tf.distribute.MirroredStrategy` over all visible GPUs, or "distributed"
            for the ranks of a job within `ranks.joined`.
        batch_size: Patches a batch over all replicas.

    Returns:
        A context manager.

    Raises:
        ConfigError: The backend is not TensorFlow, or the batch cannot be shared out evenly.
    """
    if name == ranks.DISTRIBUTED:
        ranks.check_batch(batch_size)
    if name != "mirrored":
        return contextlib.nullcontext()
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"The strategy 'mirrored' needs the TensorFlow backend. Received: {keras.backend.backend()}"
        )
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    strategy = _mirrored(tuple(device.name for device in devices))
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ConfigError(
            f"training.batch_size must be a multiple of the {replicas} replicas. Received: {batch_size}"
        )
    return strategy.scope()


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> Any:
    """The strategy of these devices, one in a process: a second one reuses the first one's keys for its
    collective operations, and fails at "Shape mismatch in the collective instance".
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))


def hardware() -> str:
    """What the training runs on, in a few words for the model card."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            details = tf.config.experimental.get_device_details(gpus[0])
            return f"{len(gpus)} x {details.get('device_name', 'GPU')}"
    count = ranks.rank_count()
    if keras.backend.backend() == "torch":
        import torch

        if torch.cuda.is_available():
            return f"{count} x {torch.cuda.get_device_name()}"
    processes = f"{count} processes on hosts of " if count > 1 else ""
    return f"{processes}{os.cpu_count()} CPU cores ({platform.machine()})"


def cpu_hint(config: RunConfig) -> str | None:
    """What to say before a training that would take more than half a day, because there is no GPU for it.

    The guess counts the multiplications of the residual blocks, forward and back, at 100 Gflop/s.
    """
    if _gpu_capabilities() or keras.backend.backend() not in ("tensorflow", "torch"):
        return None
    options, training = config.generator, config.training
    weights = options.get("blocks", 16) * 2 * 3**config.dimensions * options.get("filters", 64) ** 2
    edges = [training.patch_size or 256] * 2 + [training.patch_slices] * (config.dimensions - 2)
    pixels = training.batch_size * math.prod(map(operator.truediv, edges, config.factors))
    hours = 6 * weights * pixels * training.steps_per_epoch * training.epochs / 1e11 / 3600
    if hours < 12:
        return None
    return (
        f"No GPU found: this training may take about {hours / 24:.1f} days on the processor. Consider "
        "the preset compact, or fewer epochs."
    )


def has_bfloat16() -> bool:
    """Whether the processor that trains here multiplies in bfloat16; one that does not is slower in it than
    in float32.

    GPUs do from compute capability 8.0 on. CPUs say so in Linux's /proc/cpuinfo; elsewhere they count as
    without.
    """
    capabilities = _gpu_capabilities()
    if capabilities:
        return all(capability >= (8, 0) for capability in capabilities)
    try:
        known = CPU_INFO.read_text()
    except OSError:
        return False
    return re.search(r"\b(amx_bf16|avx512_bf16|bf16)\b", known) is not None


def _gpu_capabilities() -> list[tuple[int, int]]:
    """Compute capability (major, minor) of each GPU that Keras's backend sees; of JAX's it is not asked."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return [known.get("compute_capability", (0, 0)) for known in details]
    if keras.backend.backend() == "torch":
        import torch

        return [torch.cuda.get_device_capability(gpu) for gpu in range(torch.cuda.device_count())]
    return []


def training_precision(name: str) -> str:
    """The Keras dtype policy of a config's `precision`: "auto" is the faster one here, "mixed_bfloat16" with
    `has_bfloat16`, "float32" without.
    """
    if name == "auto":
        return "mixed_bfloat16" if has_bfloat16() else "float32"
    return name


def warn_of_slow_precision(name: str) -> None:
    """Warns where a config asks for mixed_bfloat16 and the processor is slower in it, see `has_bfloat16`."""
    if name == "mixed_bfloat16" and not has_bfloat16():
        log.warning(
            "training.precision: this processor does not multiply in bfloat16 and trains more slowly in "
            "mixed_bfloat16 than in float32. Pass `training.precision=auto` for the faster one."
        )


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Builds layers under the dtype policy of a config's `precision`, and puts the old one back."""
    warn_of_slow_precision(name)
    old = keras.config.dtype_policy()
    keras.config.set_dtype_policy(training_precision(name))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(old)
