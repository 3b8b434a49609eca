import keras
import numpy as np
import pytest
from keras import layers

from keras_mrisr.errors import MrisrError
from keras_mrisr.models import build_generator
from keras_mrisr.models.layers import PixelShuffle
from keras_mrisr.models.receptive_field import ReceptiveField, receptive_field, receptive_field_radius

CASES = [
    *(("srresnet", scale, {}) for scale in (2, 3, 4, 8)),
    *(("edsr", scale, {}) for scale in (2, 3, 4, 8)),
    ("srresnet", 2, {"global_skip": True, "neighbours": 1}),
    ("edsr", 4, {"direct_upsampling": True}),
    ("edsr", 2, {"thin_layers": 2, "thin_filters": 2, "thin_noise": 1}),
    *(("edsr", scale, {"smooth_upsampling": True}) for scale in (2, 3, 4, 8)),
    ("srresnet", 2, {"smooth_upsampling": True}),
    ("srresnet3d", (1, 1, 2), {}),
    ("srresnet3d", (2, 2, 2), {"batch_norm": True}),
    ("srresnet3d", (2, 1, 3), {}),
]


def all_positive(model):
    """Weights that cancel nowhere, so that whatever is connected shows."""
    for weight in model.weights:
        weight.assign(np.full(weight.shape, 0.1, "float32"))
    return model


def measured_radius(model, size, period=1):
    """How far from an LR pixel in the middle a line or plane of others changes its outputs, over all axes."""
    rank = len(model.input_shape) - 2
    base = np.ones((1, *(size,) * rank, model.input_shape[-1]), "float32")
    scale = np.array(model.compute_output_shape(base.shape)[1:-1]) // size
    middle = size // 2 // period * period
    before, farthest = model.predict_on_batch(base), 0
    for axis in range(rank):
        for place in range(size):
            image = base.copy()
            np.moveaxis(image, axis + 1, 0)[place] += 100
            block = tuple(slice(middle * s, (middle + period) * s) for s in scale)
            after = model.predict_on_batch(image)[0][block]
            # Processors may sum what is not connected in another order: float32's last digits.
            if not np.allclose(after, before[0][block], rtol=2e-6, atol=0):
                farthest = max(farthest, middle - place, place - middle - (period - 1))
    return farthest


@pytest.mark.parametrize(("name", "scale", "options"), CASES)
def test_radius_is_the_measured_one(name, scale, options):
    model = all_positive(build_generator(name, scale, 1, blocks=1, filters=2, **options))
    radius = receptive_field_radius(model)
    assert measured_radius(model, 2 * radius + 5) == radius


def test_known_radii():
    # 9x9 at the input, 2 in each of 16 blocks, 1 before the sum; 3x3 and, on the HR grid, 9x9 behind it.
    assert receptive_field_radius(build_generator("srresnet", 2, 1)) == 4 + 16 * 2 + 1 + 1 + 2
    assert receptive_field_radius(build_generator("srresnet", 4, 3)) == 4 + 16 * 2 + 1 + 1 + 2


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("kernel", [2, 3, 4, 7])
def test_strides_and_dilation(kernel, dilation):
    inputs = keras.Input((None, None, 1))
    x = layers.Conv2D(2, kernel, strides=2, padding="same")(inputs)
    x = layers.SeparableConv2D(16, 4, dilation_rate=dilation, padding="same")(x)
    model = all_positive(keras.Model(inputs, PixelShuffle(4)(x)))
    field = receptive_field(model)
    assert field.period == 2
    assert field.radius == measured_radius(model, 32, period=2)


def test_a_pixel_sees_itself():
    inputs = keras.Input((None, None, 4))
    assert receptive_field(keras.Model(inputs, PixelShuffle(2)(inputs))) == ReceptiveField(0, 1)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (layers.GlobalAveragePooling2D(keepdims=True, name="squeeze"), "'squeeze' (GlobalAveragePooling2D)"),
        (layers.Conv2D(1, 3, padding="valid", name="crop"), "'crop' (Conv2D)"),
        (layers.LayerNormalization(axis=(1, 2), name="norm"), "'norm' (LayerNormalization)"),
        (layers.BatchNormalization(axis=1, name="rows"), "'rows' (BatchNormalization)"),
        (layers.PReLU(name="slopes"), "'slopes' (PReLU)"),
    ],
)
def test_layers_that_see_more_are_refused(layer, name):
    inputs = keras.Input((16, 16, 1))
    with pytest.raises(MrisrError) as caught:
        receptive_field_radius(keras.Model(inputs, layer(inputs)))
    assert f"cannot be cut into tiles: its layer {name}" in str(caught.value)
    assert "\n" not in str(caught.value)
