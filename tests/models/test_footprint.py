import keras
from keras import layers

from keras_mrisr.models.footprint import activation_bytes
from keras_mrisr.models.layers import PixelShuffle


def test_tensors_live_until_they_are_last_read():
    inputs = keras.Input((None, None, 3))
    wide = layers.Conv2D(20, 3, padding="same")(inputs)  # 3 + 20 values a pixel
    other = layers.Conv2D(30, 3, padding="same")(wide)  # 20 + 30: the input is gone
    narrow = layers.Conv2D(20, 3, padding="same")(other)  # 20 + 30 + 20: `wide` is still needed
    total = layers.Add()([wide, narrow])  # 20 + 20 + 20
    shuffled = PixelShuffle(2)(total)  # 20 + 20, on four times as many pixels
    model = keras.Model(inputs, layers.Conv2D(8, 1, strides=2, padding="same")(shuffled))  # 20 + 8
    assert activation_bytes(model) == 4 * 70


def test_upsampled_tensors_count_by_their_pixels():
    inputs = keras.Input((None, None, None, 1))
    x = layers.Conv3D(8, 3, padding="same")(inputs)
    from keras_mrisr.models.volume_layers import VoxelShuffle

    x = VoxelShuffle((1, 1, 2))(x)
    assert activation_bytes(keras.Model(inputs, layers.Conv3D(16, 1, padding="same")(x))) == 4 * (8 + 2 * 16)
