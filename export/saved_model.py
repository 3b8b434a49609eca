"""A Keras generator as a SavedModel with signatures that stay the same."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_mrisr.errors import MissingDependencyError
from keras_mrisr.export.deployable import separate_biases
from keras_mrisr.export.encoded_images import upscale_png
from keras_mrisr.types import Model

SERVING, ENCODED, RAW, DESCRIBE = "serving_default", "upscale_image", "upscale_raw", "describe"
WARMUP = "assets.extra/tf_serving_warmup_requests"
WARMUP_SIZES = ((128, 128), (256, 256))


def write_saved_model(
    generator: Model, folder: pathlib.Path, metadata: dict[str, Any], size: Sequence[int] | None = None
) -> None:
    """Writes a SavedModel that needs none of this package's Python.

    Its signatures, all with a free batch:

    - serving_default: `lr` (N, H, W, C) float32 in [0, 1] -> `sr` (N, H * scale, W * scale, C); volumes
      likewise.
    - upscale_image: `image_bytes` (N,) of PNG files, 8 or 16 bits -> `image_bytes`, PNG of the same depth;
      for networks of single slices with 1 or 3 channels. Intensities are treated as by `SuperResolver`.
    - upscale_raw: `lr_bytes` (N,) of the float32 numbers of slices, little-endian, and their `size` (N, 2) ->
      `sr_bytes` (N,), serialised tensors, whose last bytes are the numbers of SR. It is serving_default for
      REST, which carries bytes in a quarter of the space that it takes for numbers.
    - describe: `query` (N,), any bytes -> `info` (N,), the metadata as JSON.

    Args:
        generator: Functional `keras.Model`, float32.
        folder: Folder to write.
        metadata: JSON values that `describe` answers with.
        size: Sizes of the spatial axes where they shall be fixed.
    """
    import tensorflow as tf

    generator = separate_biases(generator)
    shape = [None, *(size or generator.input_shape[1:-1]), generator.input_shape[-1]]
    archive = keras.export.ExportArchive()
    archive.track(generator)
    archive.add_endpoint(
        SERVING,
        lambda lr: {"sr": generator(lr, training=False)},
        input_signature=[tf.TensorSpec(shape, tf.float32, "lr")],
    )
    if takes_images(generator):

        def upscale(image):
            run = lambda one: upscale_png(one, generator, size)  # noqa: E731
            return {"image_bytes": tf.map_fn(run, image, fn_output_signature=tf.string)}

        # TensorFlow Serving's REST interface writes outputs in base64 only where they end in _bytes.
        signature = [tf.TensorSpec([None], tf.string, "image_bytes")]
        archive.add_endpoint(ENCODED, upscale, input_signature=signature)
    rank = len(shape) - 2

    def upscale_raw(lr_bytes, size):
        def run(one):
            data, edges = one
            lr = tf.reshape(tf.io.decode_raw(data, tf.float32), tf.concat([[1], edges, [shape[-1]]], 0))
            sr = generator(tf.ensure_shape(lr, (1, *shape[1:])), training=False)
            return tf.io.serialize_tensor(sr[0])

        return {"sr_bytes": tf.map_fn(run, (lr_bytes, size), fn_output_signature=tf.string)}

    signature = [tf.TensorSpec([None], tf.string, "lr_bytes"), tf.TensorSpec([None, rank], tf.int32, "size")]
    archive.add_endpoint(RAW, upscale_raw, input_signature=signature)
    text = json.dumps(metadata)
    archive.add_endpoint(
        DESCRIBE,
        lambda query: {"info": tf.fill(tf.shape(query), text)},
        input_signature=[tf.TensorSpec([None], tf.string, "query")],
    )
    archive.write_out(str(folder), verbose=False)


def takes_images(generator: Model) -> bool:
    """Whether a network upscales single grey or RGB slices, so that a PNG is a whole input."""
    shape = generator.input_shape
    return len(shape) == 4 and shape[-1] == generator.output_shape[-1] and shape[-1] in (1, 3)


def write_warmup(
    folder: pathlib.Path, name: str, generator: Model, size: Sequence[int] | None = None
) -> None:
    """Writes the requests that TensorFlow Serving runs before it says that a model is ready.

    Args:
        folder: Folder of the SavedModel.
        name: Name of the model on the server.
        generator: The network that was exported.
        size: Its fixed size, if it has one; otherwise the usual sizes are taken.

    Raises:
        ModelError: tensorflow-serving-api is missing.
    """
    import tensorflow as tf

    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise MissingDependencyError(
            "Warm-up records need tensorflow-serving-api: pip install tensorflow-serving-api"
        ) from error

    def record(signature, **inputs):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = name, signature
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        log = prediction_log_pb2.PredictLog(request=request)
        return prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString()

    rank = len(generator.input_shape) - 2
    sizes = [tuple(size)] if size else WARMUP_SIZES if rank == 2 else [(32,) * rank]
    channels = generator.input_shape[-1]
    records = [record(SERVING, lr=np.zeros((1, *edges, channels), "float32")) for edges in sizes]
    if takes_images(generator):
        blank = tf.io.encode_png(np.zeros((*sizes[0], channels), "uint8")).numpy()
        records.append(record(ENCODED, image_bytes=[blank]))
    path = pathlib.Path(folder) / WARMUP
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in records:
            writer.write(one)
