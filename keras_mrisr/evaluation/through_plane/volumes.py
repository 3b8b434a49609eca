"""Thin-slice volumes, what is made of them, and where they are scored."""

import dataclasses
import logging
import math
import pathlib
import zlib

import numpy as np

from keras_mrisr.data.patients import Patients
from keras_mrisr.data.slices import SliceDataset, SliceRecord
from keras_mrisr.data.volume_folder import read_volume_folder
from keras_mrisr.degrade.noise import rician_noise
from keras_mrisr.degrade.thick_slices import FACTORS, ThickSlices
from keras_mrisr.errors import DataError
from keras_mrisr.evaluation.through_plane.options import ThroughPlaneOptions
from keras_mrisr.folders import ALL, Choice
from keras_mrisr.types import PathLike
from keras_mrisr.volumes import Volume, check_volume, geometry, read_volume

log = logging.getLogger(__name__)

LEAST_VOXELS = 11  # Of an axis: the window of SSIM.
_ISOTROPIC = 1.5
_SLICES = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Thickened:
    """A volume, the thick slices made of it, and where it is scored.

    Attributes:
        record: The file and its patient.
        hr: The volume, float32 in the file's units; lines that fill no thick slice are cut off.
        lr: Its thick slices, over the same extent.
        axis: The axis that was degraded.
        factor: The factor that was asked for; that of the grids is the nearest one with whole lines.
        thickness: Slice thickness over slice spacing.
        white: What counts as 1 in the scores: the volume's 99.9th percentile.
        mask: bool, on the grid of `hr`.
    """

    record: SliceRecord
    hr: Volume
    lr: Volume
    axis: int
    factor: float
    thickness: float
    white: float
    mask: np.ndarray

    @property
    def lines(self) -> int:
        """Thin lines along the axis."""
        return self.hr.shape[self.axis]

    def scaled(self, array: np.ndarray) -> np.ndarray:
        """Values of the file -> float32 in units of `white`."""
        return np.asarray(array, "float32") / np.float32(self.white)


def find_volumes(data: PathLike, pattern: str | None = None, choice: Choice = ALL) -> SliceDataset:
    """The volumes of a folder, or a single one; reads no voxels.

    Raises:
        DataError: No such path, or no volumes in it.
    """
    path = pathlib.Path(data)
    if not path.is_file():
        return read_volume_folder(path, pattern, choice)
    patient, site = Patients(path.parent, pattern, whole_files=True).find(path.name)
    return SliceDataset(path.parent, "volumes", (SliceRecord(path, patient, 0, site),))


def read_thin(record: SliceRecord) -> Volume:
    """A volume to be degraded.

    Raises:
        DataError: 4-D, NaN, constant, sheared, too small, or no brightness.
    """
    volume = read_volume(record.path)
    check_volume(volume)
    if volume.array.ndim != 3:
        raise DataError(f"{volume.name} is in colour, {volume.array.shape}: save it in grey.")
    if min(volume.shape) < LEAST_VOXELS:
        raise DataError(
            f"{volume.name} is {volume.shape}: scores need {LEAST_VOXELS} voxels or more along each axis. "
            "Leave it out."
        )
    return dataclasses.replace(volume, array=volume.array.astype("float32"))


def white_of(volume: Volume) -> float:
    """The 99.9th percentile of all voxels.

    Raises:
        DataError: It is not over 0.
    """
    white = float(np.percentile(volume.array, 99.9))
    if not white > 0:
        raise DataError(f"{volume.name} has a 99.9th percentile of {white:g}: nothing to see. Leave it out.")
    return white


def choose_axes(volume: Volume, axis: str) -> list[int]:
    """The array axes that an option "slice", a plane or "all" stands for.

    Raises:
        DataError: The volume's own slices are thick along one of them.
    """
    if axis == "all":
        axes = [0, 1, 2]
    else:
        plane = axis != "slice"
        axes = [geometry.plane_axis(volume.affine, axis) if plane else geometry.slice_axis(volume)]
    finest = float(volume.spacing.min())
    for one in axes:
        if volume.spacing[one] > _ISOTROPIC * finest:
            raise DataError(
                f"{volume.name} is itself thick: {volume.spacing[one]:.4g} mm along the axis that would be "
                f"degraded, {finest:.4g} mm along its finest. Give one of thin slices, or another `axis`."
            )
    return axes


def thicken(
    record: SliceRecord,
    volume: Volume,
    mask: np.ndarray,
    axis: int,
    factor: float,
    options: ThroughPlaneOptions,
) -> Thickened:
    """Makes thick slices of a volume.

    The factor is that of the nearest grid whose slices fill a whole number of lines.

    Raises:
        DataError: Fewer than three thick slices, or nothing of the mask is left.
    """
    slices = math.floor(volume.shape[axis] / factor + 1e-6)
    if slices < _SLICES:
        raise DataError(
            f"{volume.name} has {volume.shape[axis]} voxels along the axis: {slices} slices at a factor of "
            f"{factor:g}, and {_SLICES} or more are needed. Give a smaller `factor`, or another `axis`."
        )
    least, most = math.ceil(slices * FACTORS[0] - 1e-6), math.floor(slices * FACTORS[1] + 1e-6)
    lines = min(max(round(slices * factor), least), most, volume.shape[axis])
    white = white_of(volume)
    kept = tuple(slice(0, lines) if place == axis else slice(None) for place in range(3))
    hr = dataclasses.replace(volume, array=volume.array[kept])
    if not mask[kept].any():
        raise DataError(f"{volume.name}: the mask is empty. Give another one with `mask`.")
    scale = lines / slices
    spacing = float(volume.spacing[axis]) * scale
    ratio = options.thickness_ratio(spacing)
    array = ThickSlices(scale, ratio, options.profile).degrade(hr.array, axis)
    if options.noise_snr is not None:
        # The same noise for every run, and another one for each volume and axis.
        rng = np.random.default_rng([zlib.crc32(record.name.encode()), axis])
        array = rician_noise(array.reshape(-1, 1, 1), options.noise_snr, rng).reshape(array.shape)
    factors = [1 / scale if place == axis else 1.0 for place in range(3)]
    lr = dataclasses.replace(
        hr, array=array, affine=geometry.scaled_affine(hr.affine, factors), slice_thickness=ratio * spacing
    )
    return Thickened(record, hr, lr, axis, factor, ratio, white, mask[kept])


def tissue_mask(volume: np.ndarray, white: float) -> np.ndarray:
    """Tissue in a volume: over Otsu's threshold, the largest connected part, holes filled.

    Args:
        volume: Array (X, Y, Z).
        white: Values over it count as it: its 99.9th percentile, so that vessels don't move the threshold.

    Returns:
        bool array (X, Y, Z).
    """
    from scipy import ndimage

    values = np.clip(np.asarray(volume, "float32") / np.float32(white), 0, 1)
    labels, count = ndimage.label(values > otsu_threshold(values))
    if count:
        labels = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    return ndimage.binary_fill_holes(labels)


def otsu_threshold(values: np.ndarray, bins: int = 256) -> float:
    """The threshold between two classes of least variance within them (Otsu 1979); values in [0, 1]."""
    counts, edges = np.histogram(values, bins, (0.0, 1.0))
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(centres[np.argmax(np.nan_to_num(between))])


class Masks:
    """Where volumes are scored.

    Args:
        path: A file, a folder, or None to find tissue.
        root: Folder of the volumes.
        count: How many volumes there are.

    Attributes:
        source: What they are, in words.

    Raises:
        DataError: No such path, or one file for several volumes.
    """

    def __init__(self, path: PathLike | None, root: pathlib.Path, count: int) -> None:
        self.path = None if path is None else pathlib.Path(path)
        self.root = root
        self.source = (
            "tissue found in the original: over Otsu's threshold (0 to the 99.9th percentile), the largest "
            "connected part, holes filled"
            if path is None
            else f"voxels over 0 in {path}"
        )
        if self.path is not None and not self.path.exists():
            raise DataError(f"{path} does not exist. Give a mask, or a folder of masks, for `mask`.")
        if self.path is not None and self.path.is_file() and count > 1:
            raise DataError(f"{path} is one mask, for {count} volumes: give a folder of masks for `mask`.")

    def __call__(self, record: SliceRecord, volume: Volume) -> np.ndarray:
        """The mask of a volume, bool (X, Y, Z)."""
        if self.path is None:
            return tissue_mask(volume.array, white_of(volume))
        path = self.path if self.path.is_file() else file_of(record, self.root, self.path, "mask")
        mask = read_volume(path)
        if mask.array.shape != volume.array.shape or not np.allclose(mask.affine, volume.affine, atol=1e-2):
            raise DataError(
                f"{path} is not on the grid of {volume.name}: {mask.array.shape} and {volume.array.shape}, "
                "or another affine. Resample the mask."
            )
        return mask.array > 0


def file_of(record: SliceRecord, root: pathlib.Path, folder: pathlib.Path, what: str) -> pathlib.Path:
    """The file in a folder that belongs to a volume: its relative path, as .nii or .nii.gz.

    Raises:
        DataError: There is none, or there are two.
    """
    name = record.path.relative_to(root).as_posix()
    stem = name.removesuffix(".gz").removesuffix(".nii")
    names = dict.fromkeys([name, f"{stem}.nii.gz", f"{stem}.nii"])
    found = [folder / one for one in names if (folder / one).is_file()]
    if len(found) != 1:
        problem = f"lacks {name}" if not found else f"holds both {found[0].name} and {found[1].name}"
        raise DataError(f"{folder} {problem}, the {what} of {record.path}. Give one file of that name.")
    return found[0]
