"""The ONNX file of a packed model, with which `mrisr upscale` runs it without TensorFlow."""

import pathlib

import onnx

from keras_mrisr.export.deployable import deployable
from keras_mrisr.export.describe import metadata
from keras_mrisr.export.export import keras_reference, onnx_runner
from keras_mrisr.export.onnx_file import add_metadata, convert
from keras_mrisr.export.onnx_graph import rewrite_for_cpu
from keras_mrisr.export.onnx_resolver import FOR_CPU
from keras_mrisr.export.onnx_weights import halve_weights
from keras_mrisr.export.parity import check_parity, probes
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.types import Model


def write_packed_onnx(generator: Model, info: ModelInfo, path: pathlib.Path) -> None:
    """Writes a network of slices for CPUs, its weights in float16 on disk, and compares it with Keras.

    Args:
        generator: Functional `keras.Model` whose weights are those of float16.
        info: Its `ModelInfo`.
        path: The file to write.

    Raises:
        ModelError: A layer has no equivalent in ONNX, or the result differs from that of Keras.
    """
    network = convert(deployable(generator))
    rewrite_for_cpu(network)
    halve_weights(network)
    how = {"precision": "float32", "layout": "nhwc", "size": None, "name": path.parent.name, FOR_CPU: True}
    add_metadata(network, metadata(generator, info, **how))
    onnx.save(network, path)
    inputs = probes(generator.input_shape[1:], None, ())
    check_parity(keras_reference(generator), onnx_runner(str(path), "nhwc"), inputs)
