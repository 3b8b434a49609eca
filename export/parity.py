"""Does an exported network compute what Keras computes?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr.errors import ModelError

BATCHES = (1, 3)
TOLERANCE = 1e-4
_SIZES = {4: ((24, 40), (37, 29)), 5: ((6, 8, 10), (7, 5, 9))}  # By rank of the network's input.


def check_parity(
    reference: Callable[[np.ndarray], Any],
    exported: Callable[[np.ndarray], Any],
    inputs: Mapping[str, np.ndarray],
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Runs both networks on the same inputs.

    Args:
        reference: Function from an array (N, ..., C) float32 to the SR array.
        exported: Function of the same kind.
        inputs: {name: array}, such as from `probes`.
        tolerance: Largest difference that is rounding, on the scale where an image is 0 to 1.

    Returns:
        {"max_difference": float, "tolerance": float, "cases": [{"input", "shape", "difference"}, ...]}.

    Raises:
        ModelError: A difference beyond the tolerance, NaN or another shape.
    """
    cases: list[dict[str, Any]] = []
    for name, batch in inputs.items():
        expected, got = np.asarray(reference(batch)), np.asarray(exported(batch))
        if got.shape != expected.shape:
            raise ModelError(
                f"The exported network makes {got.shape} of {batch.shape}, Keras {expected.shape}: nothing "
                "was written. Please report this model."
            )
        difference = float(np.max(np.abs(got.astype("float64") - expected)))
        cases.append({"input": name, "shape": list(batch.shape), "difference": difference})
    # A NaN is larger than any tolerance; max() alone might pass over it.
    worst = max(cases, key=lambda case: (np.isnan(case["difference"]), case["difference"]))
    if not worst["difference"] <= tolerance:
        raise ModelError(
            f"The exported network differs from Keras by {worst['difference']:.2g} ({worst['input']}, shape "
            f"{tuple(worst['shape'])}), more than {tolerance:g}: nothing was written."
        )
    return {"max_difference": worst["difference"], "tolerance": tolerance, "cases": cases}


def probes(
    shape: Sequence[Any],
    size: Sequence[int] | None = None,
    slices: Sequence[np.ndarray] = (),
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Batches to compare two networks on: noise, a phantom, and real slices where there are some.

    Args:
        shape: Input shape of the network without batch, None where it is free: (None, None, C).
        size: The sizes that the exported network takes; two sizes are tried where it takes any.
        slices: LR slices (H, W, C) in [0, 1].
        seed: Of the noise.

    Returns:
        {name: array (N, ..., C) float32} with batches of 1 and 3.
    """
    rng = np.random.default_rng(seed)
    sizes: Sequence[tuple[int, ...]] = [tuple(size)] if size else _SIZES[len(shape) + 1]
    batches = {}
    for edges in sizes:
        name = "x".join(map(str, edges))
        for count in BATCHES:
            noise = rng.random((count, *edges, shape[-1]), dtype="float32")
            batches[f"random {name}, batch {count}"] = noise
        batches[f"phantom {name}"] = phantom(edges, shape[-1])[np.newaxis]
    if len(slices) > 0:
        batches["real"] = fit_size(slices[0], size)[np.newaxis]
        few = [fit_size(one, size) for one in (list(slices) * 3)[:3]]
        if len({one.shape for one in few}) == 1:
            batches["real, batch 3"] = np.stack(few)
    return batches


def phantom(sizes: Sequence[int], channels: int) -> np.ndarray:
    """A head made of ellipsoids on a black ground, (*sizes, channels) float32 in [0, 1]."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in sizes), indexing="ij")
    image = np.zeros(sizes, "float32")
    for radius, shift, value in ((0.9, 0.0, 0.9), (0.8, 0.0, -0.5), (0.25, 0.3, 0.35), (0.2, -0.35, -0.3)):
        image[sum((axis - shift) ** 2 for axis in axes) < radius**2] += value
    contrasts = np.linspace(1, 0.6, channels, dtype="float32")
    return image[..., np.newaxis] * contrasts


def fit_size(image: np.ndarray, size: Sequence[int] | None) -> np.ndarray:
    """A slice (H, W, C) as it is, or for a fixed size (H, W) cropped, or its edge repeated."""
    if size is None:
        return image
    pads = [(0, max(0, wanted - edge)) for wanted, edge in zip(size, image.shape, strict=False)]
    image = np.pad(image, [*pads, (0, 0)], mode="edge")
    return image[tuple(slice(0, wanted) for wanted in size)]
