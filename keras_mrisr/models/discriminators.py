"""Discriminators by name: from an image to logits that say "high resolution". All layers start with d_.

The prefix keeps the variable paths apart from the generator's in one optimizer's map. Probabilities
for reports come from `keras_mrisr.losses.probability`; the sigmoid is no part of a model.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from keras_mrisr.checks import check_counts, check_options, known
from keras_mrisr.errors import ConfigError
from keras_mrisr.models.blocks import LAST, batch_norm
from keras_mrisr.models.projected import projected_discriminator
from keras_mrisr.models.spectral import SpectralConv2D, SpectralDense
from keras_mrisr.types import Model, Tensor

NORMALIZATIONS = ("batch", "spectral", "none")


def srgan_discriminator(
    channels: int = 3,
    patch_size: int = 96,
    filters: int = 64,
    dense: int = 1024,
    normalization: str = "batch",
    synchronized: bool = False,
    name: str = "d_srgan",
) -> Model:
    """Builds the paper's discriminator (Ledig et al. 2017, figure 4), without its last sigmoid.

    Eight convolutions k3 with 1, 1, 2, 2, 4, 4, 8, 8 times `filters` channels and strides 1 and 2 in
    turn, each with LeakyReLU 0.2; then a dense layer, LeakyReLU and the logit.

    Args:
        channels: Channels of the image.
        patch_size: Edge of the HR patches, 16 or more. The dense layer ties the model to it.
        filters: Channels of the first convolution.
        dense: Width of the dense layer.
        normalization: "batch" after each convolution but the first (the paper), "spectral" (every
            layer; Miyato et al. 2018) or "none".
        synchronized: Batch statistics over all replicas; needs a distribution strategy to matter.
        name: Name of the model.

    Returns:
        A functional `keras.Model` from (N, patch_size, patch_size, channels), nominally in [0, 1], to
        logits (N, 1), float32. With the defaults it has 23.6 M parameters.

    Raises:
        ConfigError: An argument is out of range.
    """
    check_counts(channels=channels, patch_size=patch_size, filters=filters, dense=dense)
    _check_normalization(normalization)
    if patch_size < 16:
        raise ConfigError(
            f"Patches of {patch_size} are too small for the discriminator 'srgan', which halves them four "
            "times: the smallest HR patch is 16. 'patchgan' and 'unet' take any multiple of 8."
        )
    inputs = x = keras.Input((patch_size, patch_size, channels), name="d_input")
    for i in range(1, 9):
        width = filters * 2 ** ((i - 1) // 2)
        norm = "none" if i == 1 and normalization == "batch" else normalization
        x = _conv(x, width, 3, 2 - i % 2, str(i), norm, synchronized)
    x = layers.Flatten(name="d_flatten", **LAST)(x)
    cls = SpectralDense if normalization == "spectral" else layers.Dense
    x = cls(dense, kernel_initializer="he_normal", name="d_dense")(x)
    x = layers.LeakyReLU(0.2, name="d_dense_lrelu")(x)
    return keras.Model(inputs, cls(1, name="d_logits", dtype="float32")(x), name=name)


def patchgan_discriminator(
    channels: int = 3,
    patch_size: int | None = None,
    filters: int = 64,
    normalization: str = "batch",
    synchronized: bool = False,
    name: str = "d_patchgan",
) -> Model:
    """Builds a PatchGAN of receptive field 70 (Isola et al. 2017, section 6.1.2).

    Convolutions k4 with 1, 2, 4, 8 times `filters` channels, strides 2, 2, 2, 1 and LeakyReLU 0.2, and
    one to the logits: each judges the 70x70 pixels around it, so that only texture counts.

    Args:
        channels: Channels of the image.
        patch_size: Edge of the HR patches, only checked: a multiple of 8, or None.
        filters: Channels of the first convolution.
        normalization: "batch" after each convolution but the first (the paper), "spectral" or "none".
        synchronized: Batch statistics over all replicas.
        name: Name of the model.

    Returns:
        A functional `keras.Model` from (N, H, W, channels), nominally in [0, 1], to logits
        (N, H / 8, W / 8, 1), float32; H and W multiples of 8.

    Raises:
        ConfigError: An argument is out of range.
    """
    check_counts(channels=channels, filters=filters)
    _check_normalization(normalization)
    _check_multiple_of_8("patchgan", patch_size)
    inputs = x = keras.Input((None, None, channels), name="d_input")
    for i, strides in enumerate((2, 2, 2, 1), start=1):
        norm = "none" if i == 1 and normalization == "batch" else normalization
        x = _conv(x, filters * 2 ** (i - 1), 4, strides, str(i), norm, synchronized)
    return keras.Model(inputs, _logits(x, 4, normalization == "spectral"), name=name)


def unet_discriminator(
    channels: int = 3,
    patch_size: int | None = None,
    filters: int = 64,
    normalization: str = "spectral",
    synchronized: bool = False,
    name: str = "d_unet",
) -> Model:
    """Builds a U-Net with one logit a pixel (Wang et al. 2021, "Real-ESRGAN", section 3.4).

    Three convolutions k4 with stride 2 down, bilinear upscaling and convolutions k3 up, skips by
    addition, LeakyReLU 0.2. As in the authors' code, the first and the last convolution are not
    normalised.

    Args:
        channels: Channels of the image.
        patch_size: Edge of the HR patches, only checked: a multiple of 8, or None.
        filters: Channels at full resolution.
        normalization: "spectral" (the paper), "batch" or "none".
        synchronized: Batch statistics over all replicas.
        name: Name of the model.

    Returns:
        A functional `keras.Model` from (N, H, W, channels), nominally in [0, 1], to logits
        (N, H, W, 1), float32; H and W multiples of 8.

    Raises:
        ConfigError: An argument is out of range.
    """
    check_counts(channels=channels, filters=filters)
    _check_normalization(normalization)
    _check_multiple_of_8("unet", patch_size)

    def conv(
        x: Tensor, width: int, kernel_size: int, strides: int, label: str, norm: str = normalization
    ) -> Tensor:
        return _conv(x, width, kernel_size, strides, label, norm, synchronized)

    inputs = keras.Input((None, None, channels), name="d_input")
    x = conv(inputs, filters, 3, 1, "0", "none")
    skips = []
    for i in (1, 2, 3):
        skips.append(x)
        x = conv(x, filters * 2**i, 4, 2, f"_down{i}")
    for i in (3, 2, 1):
        x = layers.UpSampling2D(2, interpolation="bilinear", name=f"d_up{i}_resize", **LAST)(x)
        x = conv(x, filters * 2 ** (i - 1), 3, 1, f"_up{i}")
        x = layers.Add(name=f"d_up{i}_sum")([x, skips.pop()])
    x = conv(x, filters, 3, 1, "_last1")
    x = conv(x, filters, 3, 1, "_last2")
    return keras.Model(inputs, _logits(x, 3, spectral=False), name=name)


DISCRIMINATORS: dict[str, Callable[..., Model]] = {
    "srgan": srgan_discriminator,
    "patchgan": patchgan_discriminator,
    "unet": unet_discriminator,
    "projected": projected_discriminator,
}


def build_discriminator(name: str, channels: int, patch_size: int | None = None, **options: Any) -> Model:
    """Builds a discriminator.

    Args:
        name: A key of `DISCRIMINATORS`.
        channels: Channels of the image.
        patch_size: Edge of the HR patches. "srgan" needs it; the others take any multiple of 8.
        **options: Other arguments of the builder, such as `filters` and `normalization`; "projected" needs
            `features`.

    Returns:
        A `keras.Model` from images to logits: (N, 1), or a map (N, h, w, 1), or several (N, h, w, K).

    Raises:
        ConfigError: Unknown name or option, or a value out of range.
    """
    known("discriminator", name, DISCRIMINATORS)
    builder = DISCRIMINATORS[name]
    check_options(name, builder, options, given=("channels", "patch_size", "name"))
    if name == "projected" and "features" not in options:
        raise ConfigError("The discriminator 'projected' needs a feature network: `features`.")
    return builder(channels=channels, patch_size=patch_size, **options)


def _conv(
    x: Tensor,
    filters: int,
    kernel_size: int,
    strides: int,
    label: str,
    normalization: str,
    synchronized: bool,
) -> Tensor:
    """Convolution, batch normalisation where asked for, LeakyReLU 0.2."""
    cls = SpectralConv2D if normalization == "spectral" else layers.Conv2D
    x = cls(
        filters,
        kernel_size,
        strides,
        padding="same",
        use_bias=normalization != "batch",
        kernel_initializer="he_normal",
        name=f"d_conv{label}",
        **LAST,
    )(x)
    if normalization == "batch":
        x = batch_norm(f"d_bn{label}", synchronized)(x)
    return layers.LeakyReLU(0.2, name=f"d_lrelu{label}")(x)


def _logits(x: Tensor, kernel_size: int, spectral: bool) -> Tensor:
    # float32 whatever the policy: the losses take softplus of it.
    cls = SpectralConv2D if spectral else layers.Conv2D
    return cls(1, kernel_size, padding="same", name="d_logits", dtype="float32", **LAST)(x)


def _check_normalization(normalization: str) -> None:
    if normalization not in NORMALIZATIONS:
        raise ConfigError(
            f"normalization must be one of {', '.join(NORMALIZATIONS)}. "
            f"Received: normalization={normalization!r}"
        )


def _check_multiple_of_8(name: str, patch_size: object) -> None:
    if patch_size is None:
        return
    if not isinstance(patch_size, int) or patch_size < 8 or patch_size % 8:
        raise ConfigError(
            f"The discriminator {name!r} takes HR patches of any size that is a multiple of 8. "
            f"Received: patch_size={patch_size!r}"
        )
