"""Adversarial losses on logits; stable at any size of them, since each is a softplus or a hinge.

`real` and `fake` are the discriminator's logits of HR and SR patches: (N, 1) or maps (N, h, w, K).
Every loss is a scalar, the mean over all logits of the batch: under a distribution strategy that of
one replica.
"""

from keras import ops

from keras_mrisr.errors import ConfigError
from keras_mrisr.replicas import replica_mean
from keras_mrisr.types import Shape, Tensor

KINDS = ("bce", "relativistic", "relativistic_average", "hinge")


def discriminator_loss(real: Tensor, fake: Tensor, kind: str = "bce", label_smoothing: float = 0.0) -> Tensor:
    """What the discriminator minimises.

    "bce": -log D(HR) - log(1 - D(SR)), eq. 2 of Ledig et al. 2017, with D = sigmoid(logit).
    "relativistic": -log sigmoid(real - fake) of each pair (Huang et al. 2024, "The GAN is dead", eq. 2).
    "relativistic_average": each logit against the mean of the other kind (Jolicoeur-Martineau 2018,
    as in eq. 1 of ESRGAN, Wang et al. 2018). That mean is over the batches of all replicas.
    "hinge": max(0, 1 - real) + max(0, 1 + fake) (Miyato et al. 2018, eq. 16).

    Args:
        real: Logits of HR patches.
        fake: Logits of SR patches; for the relativistic pairs each of the patch in the same place.
        kind: One of `KINDS`.
        label_smoothing: The target of real patches is 1 - label_smoothing, that of fakes stays 0
            (Salimans et al. 2016, section 3.4). Only for "bce".

    Returns:
        Scalar tensor, float32.

    Raises:
        ConfigError: Unknown kind, smoothing out of [0, 1) or not for this kind, shapes that don't pair.
    """
    real, fake = _logits(real, fake, kind)
    if not 0 <= label_smoothing < 1 or (label_smoothing and kind != "bce"):
        raise ConfigError(
            "label_smoothing must be in [0, 1), and 0 unless the kind is 'bce'. "
            f"Received: label_smoothing={label_smoothing!r}, kind={kind!r}"
        )
    if kind == "bce":
        # -(1 - s) log D - s log(1 - D) = softplus(-x) + s * x
        on_real = ops.softplus(-real) + label_smoothing * real
        return ops.mean(on_real) + ops.mean(ops.softplus(fake))
    if kind == "hinge":
        return ops.mean(ops.relu(1 - real)) + ops.mean(ops.relu(1 + fake))
    if kind == "relativistic":
        return ops.mean(ops.softplus(fake - real))
    return _average(real, fake)


def generator_loss(real: Tensor, fake: Tensor, kind: str = "bce") -> Tensor:
    """What the generator minimises: the non-saturating counterpart of `discriminator_loss`.

    "bce": -log D(SR), eq. 6 of Ledig et al. 2017; `real` is not used and may be None.
    "hinge": -fake (Miyato et al. 2018, eq. 17); `real` is not used either.
    "relativistic", "relativistic_average": the discriminator's loss with both sides exchanged.

    Args:
        real: Logits of HR patches.
        fake: Logits of SR patches.
        kind: One of `KINDS`.

    Returns:
        Scalar tensor, float32.

    Raises:
        ConfigError: Unknown kind, or shapes that don't pair.
    """
    if kind == "bce":
        return ops.mean(ops.softplus(-ops.cast(fake, "float32")))
    if kind == "hinge":
        return -ops.mean(ops.cast(fake, "float32"))
    real, fake = _logits(real, fake, kind)
    if kind == "relativistic":
        return ops.mean(ops.softplus(real - fake))
    return _average(fake, real)


def r1_penalty_from_gradients(gradients: Tensor) -> Tensor:
    """R1: the mean over the batch of |gradient|^2 (Mescheder et al. 2018, eq. 9, without gamma / 2).

    Args:
        gradients: (N, H, W, C): for each real image the gradient of its logit with respect to it. For a
            map of logits that of their mean keeps gamma's meaning; their sum does not.

    Returns:
        Scalar tensor, float32; the caller multiplies by gamma / 2.
    """
    gradients = ops.cast(gradients, "float32")
    return ops.mean(ops.sum(ops.square(gradients), axis=tuple(range(1, len(gradients.shape)))))


def probability(logits: Tensor) -> Tensor:
    """For reports: the discriminator's probability that each image is a real one.

    Args:
        logits: (N, 1) or (N, h, w, 1).

    Returns:
        Tensor (N,) in [0, 1]: the sigmoid, averaged over a map.
    """
    chances = ops.sigmoid(ops.cast(logits, "float32"))
    return ops.mean(chances, axis=tuple(range(1, len(chances.shape))))


def _average(up: Tensor, down: Tensor) -> Tensor:
    """-log sigmoid(up - mean(down)) - log sigmoid(mean(up) - down)"""
    mean_up, mean_down = replica_mean(ops.mean(up)), replica_mean(ops.mean(down))
    return ops.mean(ops.softplus(mean_down - up)) + ops.mean(ops.softplus(down - mean_up))


def _logits(real: Tensor, fake: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    if kind not in KINDS:
        raise ConfigError(f"Unknown adversarial loss {kind!r}. Known: {', '.join(KINDS)}.")
    real, fake = ops.cast(real, "float32"), ops.cast(fake, "float32")
    # Otherwise (N, 1) and (N,) would broadcast to all pairs.
    if kind == "relativistic" and not _pairs(real.shape, fake.shape):
        raise ConfigError(
            "Relativistic pairs need logits of one shape. "
            f"Received: real={tuple(real.shape)}, fake={tuple(fake.shape)}"
        )
    return real, fake


def _pairs(one: Shape, other: Shape) -> bool:
    # A dimension that is only known at run time (None) fits everything.
    return len(one) == len(other) and all(None in (a, b) or a == b for a, b in zip(one, other, strict=True))
