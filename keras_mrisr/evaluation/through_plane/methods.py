"""What restores thick slices: interpolators, models, and volumes that other programs restored."""

import pathlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Protocol

import numpy as np

from keras_mrisr.checks import known
from keras_mrisr.data.slices import SliceRecord
from keras_mrisr.degrade.thick_slices import positions
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.evaluation.compatibility import Named
from keras_mrisr.evaluation.through_plane.volumes import Thickened, file_of
from keras_mrisr.evaluation.volumes import INTERPOLATIONS
from keras_mrisr.inference.resample import apply_matrix, spline_matrix
from keras_mrisr.inference.through_plane import upscale_through_plane
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver
from keras_mrisr.types import PathLike
from keras_mrisr.volumes import Volume, check_volume, read_volume

_MATCH = 1e-3  # Of a voxel: by so much two grids may differ and are still the same.
_OUTSIDE = 1.0  # Of its voxels: so far the original's centres may lie beyond those of a prediction.


class Method(Named, Protocol):
    """Gives a volume on the grid of the original."""

    def __call__(self, case: Thickened) -> np.ndarray:
        """float32 array of the original's shape, in the file's units."""
        ...


class Interpolator:
    """Interpolates along the axis; nothing but the nearest voxel is known beyond the outer centres."""

    def __init__(self, name: str) -> None:
        known("interpolation of volumes", name, INTERPOLATIONS)
        self.name = name
        kind = "cubic B-spline" if name == "cubic" else name
        self.source = f"{kind} along the axis, SciPy {metadata.version('scipy')}"

    def __call__(self, case: Thickened) -> np.ndarray:
        matrix = self._matrix(case.lr.shape[case.axis], case.lines)
        return apply_matrix(matrix, case.lr.array, case.axis)

    def _matrix(self, slices: int, lines: int) -> np.ndarray:
        if self.name == "cubic":
            return spline_matrix(slices, lines)
        places = np.clip(positions(slices, lines), 0, slices - 1)
        if self.name == "nearest":
            return np.eye(slices)[np.floor(places + 0.5).astype(int)]
        return np.stack([np.interp(places, np.arange(slices), row) for row in np.eye(slices)], axis=1)


class Model:
    """Restores as `mrisr upscale` does.

    Args:
        name: What it is called in tables.
        model: Path or name of a through-plane model, or a `ThroughPlaneResolver`.
        ensemble: Average over flips, too.
        consistency: Make the result agree with the thick slices.

    Raises:
        ModelError: Nothing there, broken, or a model of another task.
    """

    def __init__(
        self,
        name: str,
        model: PathLike | ThroughPlaneResolver,
        ensemble: bool = False,
        consistency: bool = False,
    ) -> None:
        if isinstance(model, ThroughPlaneResolver):
            self.resolver, self.source = model, model.name
        else:
            self.resolver, self.source = ThroughPlaneResolver.load(model), str(model)
        self.name = name
        self.ensemble, self.consistency = ensemble, consistency
        self.info = self.resolver.info

    def check(self, factors: Sequence[float]) -> None:
        """Raises ConfigError for a factor that it was not trained for."""
        least, most = self.info.factors
        for factor in factors:
            if not least <= factor <= most:
                raise ConfigError(
                    f"{self.source} was trained for factors of {least:g} to {most:g}, not {factor:g}. Give "
                    "another `factor`, or leave the model out."
                )

    def __call__(self, case: Thickened) -> np.ndarray:
        thickness = case.lr.slice_thickness
        found = upscale_through_plane(
            case.lr,
            self.resolver,
            case.hr.spacing.tolist(),
            thickness=thickness,
            ensemble=self.ensemble,
            consistency=self.consistency,
        )
        return found.volume.array


class Predictions:
    """Volumes that another program restored, under the names of the originals.

    Args:
        name: What they are called in tables.
        folder: Their folder.
        root: Folder of the originals.

    Raises:
        DataError: No such folder.
    """

    def __init__(self, name: str, folder: PathLike, root: pathlib.Path) -> None:
        self.name, self.folder, self.root = name, pathlib.Path(folder), root
        self.source = f"predictions in {folder}"
        if not self.folder.is_dir():
            raise DataError(f"{folder} is not a folder. Give the folder of the predictions {name}.")

    def check(self, records: Sequence[SliceRecord]) -> None:
        """Raises DataError unless every record has a prediction."""
        for record in records:
            file_of(record, self.root, self.folder, "prediction")

    def __call__(self, case: Thickened) -> np.ndarray:
        path = file_of(case.record, self.root, self.folder, "prediction")
        prediction = read_volume(path)
        check_volume(prediction)
        if prediction.array.ndim != 3:
            raise DataError(f"{path} is not 3-D but {prediction.array.shape}. Save one volume of it.")
        return _on_grid(prediction, case)


def _on_grid(prediction: Volume, case: Thickened) -> np.ndarray:
    """A prediction on the grid of the original: as it is where that is its own, else resampled.

    The whole original's grid will do, too, of which lines at the end were cut off.

    Raises:
        DataError: It covers another part of the world.
    """
    from scipy import ndimage

    hr = case.hr
    to_own = np.linalg.inv(prediction.affine) @ hr.affine
    array = prediction.array.astype("float32")
    fits = all(own >= size for own, size in zip(array.shape, hr.shape, strict=True))
    if fits and np.allclose(to_own, np.eye(4), atol=_MATCH):
        return array[tuple(map(slice, hr.shape))]
    corners = np.array([[*place, 1] for place in np.ndindex(2, 2, 2)], float)
    corners[:, :3] *= np.array(hr.shape) - 1
    own = (corners @ to_own.T)[:, :3]
    # A voxel covers more than its centre.
    if (own < -_OUTSIDE).any() or (own > np.array(array.shape) - 1 + _OUTSIDE).any():
        raise DataError(
            f"{prediction.name} covers another part of the world than {hr.name}: its affine or its size is "
            "wrong. Save it with the affine of its own grid."
        )
    return ndimage.affine_transform(array, to_own, output_shape=hr.shape, order=3, mode="nearest")


def make_interpolators(names: Sequence[str] | None) -> list[Interpolator]:
    """The interpolators of some names; by default all."""
    return [Interpolator(name) for name in dict.fromkeys(INTERPOLATIONS if names is None else names)]


def make_models(models: Mapping[str, Any], ensemble: bool, consistency: bool) -> list[Model]:
    """A `Model` of each name."""
    return [Model(name, one, ensemble, consistency) for name, one in models.items()]
