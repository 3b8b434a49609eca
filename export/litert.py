"""A Keras generator as a LiteRT (TFLite) file of one fixed size."""

import pathlib
import warnings
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_mrisr.errors import ModelError
from keras_mrisr.types import Model


def write_litert(generator: Model, path: pathlib.Path, size: Sequence[int]) -> None:
    """Writes a `.tflite` file; batch 1, float32.

    Args:
        generator: Functional `keras.Model`, float32.
        path: File to write, ending in `.tflite`.
        size: Sizes of the spatial axes.

    Raises:
        ModelError: An operation that LiteRT doesn't have.
    """
    shape = (1, *size, generator.input_shape[-1])
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="lr")]
    try:
        generator.export(path, format="litert", input_signature=signature, verbose=False)
    except Exception as error:  # The converter raises one of its own, which is no public name.
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"A layer of {generator.name} cannot be written as LiteRT ({reason}). Export it as saved_model."
        ) from error


def load_litert(path: pathlib.Path) -> Callable[[np.ndarray], np.ndarray]:
    """A function from (N, H, W, C) to the SR array, for a file of `write_litert`; one slice at a time."""
    import numpy as np
    import tensorflow as tf

    kernels = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # They would log.
    with warnings.catch_warnings():
        # TensorFlow's interpreter will move to a package of its own, ai-edge-litert.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(str(path), num_threads=1, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run(batch: np.ndarray) -> np.ndarray:
        results = []
        for one in batch:
            interpreter.set_tensor(source, one[np.newaxis])
            interpreter.invoke()
            results.append(interpreter.get_tensor(target)[0])
        return np.stack(results)

    return run
