"""From the bytes of a PNG file to those of the upscaled one, in TensorFlow operations only."""

from collections.abc import Sequence

from keras_mrisr.types import Model, Tensor

_DEPTH, _COLOUR = 24, 25  # Places in a PNG file (ISO/IEC 15948, 11.2.2): bits a channel, kind of colour.
_COLOURS = {1: (0, "grey"), 3: (2, "RGB")}  # By channels: the kind's number and name.
_PERCENTILE = 99.9  # As in `data.normalize`.


def upscale_png(data: Tensor, generator: Model, size: Sequence[int] | None = None) -> Tensor:
    """Upscales one image, as `SuperResolver` does with the array in it.

    Args:
        data: Scalar string tensor: a PNG file of 8 or 16 bits, grey or RGB as the generator has 1 or 3
            channels. TensorFlow decodes no TIFF.
        generator: Functional `keras.Model` of slices.
        size: (H, W) that the image must have, if the network is exported for one size.

    Returns:
        Scalar string tensor: the PNG of the result, of the same depth.
    """
    import tensorflow as tf

    channels = generator.input_shape[-1]
    colour, kind = _COLOURS[channels]
    is_png = tf.strings.substr(data, 0, 8) == b"\x89PNG\r\n\x1a\n"
    checks = [
        tf.debugging.Assert(is_png, ["Not a PNG file: send pixels of other formats to serving_default"])
    ]
    with tf.control_dependencies(checks):
        header = tf.cast(tf.io.decode_raw(tf.strings.substr(data, _DEPTH, 2), tf.uint8), tf.int32)
    message = [f"The model takes {kind} images. PNG colour type, which is 0 for grey and 2 for RGB:"]
    checks = [tf.debugging.Assert(header[1] == colour, [*message, header[1]])]
    with tf.control_dependencies(checks):
        # 8 bits come as v * 257, so that full scale is 65535 in any case.
        pixels = tf.io.decode_png(data, channels=channels, dtype=tf.uint16)
    if size is not None:
        pixels = tf.ensure_shape(pixels, (*size, channels))
    deep = header[0] == 16
    values = tf.cast(pixels, tf.float32)
    top = tf.where(deep, _upper_end(values), tf.constant(65535.0))
    sr = generator(tf.expand_dims(values / top, 0), training=False)[0]
    # A constant image has nothing to resolve and stays what it is.
    constant = tf.reduce_min(values) == tf.reduce_max(values)
    sr = tf.where(constant, values[0, 0, 0] / top, sr)

    def encode(largest, dtype):
        # float64, because float32 cannot count 16-bit steps finely enough to round them.
        steps = tf.round(tf.cast(sr, tf.float64) * largest)
        limit = tf.cast(dtype.max, tf.float64)
        return tf.io.encode_png(tf.cast(tf.clip_by_value(steps, 0, limit), dtype))

    return tf.cond(deep, lambda: encode(tf.cast(top, tf.float64), tf.uint16), lambda: encode(255.0, tf.uint8))


def _upper_end(values: Tensor) -> Tensor:
    """The intensity that becomes 1: the 99.9th percentile, or the maximum where that is 0."""
    import tensorflow as tf

    ordered = tf.sort(tf.reshape(values, [-1]))
    last = tf.size(ordered) - 1
    place = tf.cast(last, tf.float64) * (_PERCENTILE / 100)
    below = tf.cast(tf.floor(place), tf.int32)
    share = tf.cast(place - tf.floor(place), tf.float32)
    low, high = ordered[below], ordered[tf.minimum(below + 1, last)]
    found = low + (high - low) * share
    top = ordered[last]
    return tf.where(found > 0, found, tf.where(top > 0, top, 1.0))
