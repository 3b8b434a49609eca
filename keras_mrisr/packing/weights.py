"""The weights of a `.keras` file in half the space."""

import io
import zipfile
from typing import Any

import numpy as np

from keras_mrisr.degrade.thick_slices import positions
from keras_mrisr.types import Model, PathLike

_ARCHIVED = "model.weights.h5"


def halve_weights(source: PathLike, target: PathLike) -> None:
    """Copies a `.keras` file with its float32 weights as float16; Keras loads it as it loads the source."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            data = old.read(entry)
            new.writestr(entry, _in_float16(data) if entry == _ARCHIVED else data)


def _in_float16(stored: bytes) -> bytes:
    """An HDF5 file with its float32 arrays as float16. A new file: HDF5 keeps the room of what is deleted."""
    import h5py

    small = io.BytesIO()
    with h5py.File(io.BytesIO(stored), "r") as old, h5py.File(small, "w") as new:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                values = item[()]
                halved = values.astype("float16") if item.dtype == np.float32 else values
                made = new.create_dataset(name, data=halved)
            else:
                made = new.require_group(name)
            made.attrs.update(item.attrs)

        new.attrs.update(old.attrs)
        old.visititems(copy)
    return small.getvalue()


def largest_difference(generator: Model, other: Model) -> float:
    """How far two networks are apart at most on noise and on a smooth image, on the scale of [0, 1].

    Those for thick slices make four lines of each.
    """
    rng = np.random.default_rng(0)
    shape = generator.input_shape
    thick = isinstance(shape, list)
    edges = (24,) * (len(shape[0] if thick else shape) - 2)
    noise = rng.random((2, *edges, (shape[0] if thick else shape)[-1]), dtype="float32")
    smooth = np.cumsum(noise, axis=1) / np.arange(1, edges[0] + 1).reshape(-1, *[1] * len(edges))
    worst = 0.0
    for batch in (noise, smooth.astype("float32")):
        inputs = [batch, *_four_lines(edges[0])] if thick else batch
        results = [np.asarray(network(inputs, training=False)) for network in (generator, other)]
        worst = max(worst, float(np.max(np.abs(results[0] - results[1]))))
    return worst


def _four_lines(slices: int) -> tuple[np.ndarray, np.ndarray]:
    """The inputs beside two planes of so many slices: see `models.through_plane`."""
    rows = positions(slices, 4 * slices).astype("float32")
    return np.tile(rows, (2, 1)), np.full((2, 2), (0.25, 1), "float32")
