"""Siemens's mosaics: all slices of a volume as tiles of one image."""

import dataclasses
import math
import warnings
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Tiles:
    """The slices of a mosaic.

    Attributes:
        size: (rows, columns) of each.
        corners: (row, column) of its first pixel in the mosaic.
        positions: The centre of that pixel in space, (3,) millimetres in LPS.
    """

    size: tuple[int, int]
    corners: list[tuple[int, int]]
    positions: list[np.ndarray]


def tiles(
    header: Any, size: tuple[int, int], spacing: np.ndarray, orientation: np.ndarray, position: np.ndarray
) -> Tiles:
    """The slices of a mosaic, from Siemens's private header.

    A mosaic has as many tiles along its rows as along its columns, the last of them empty. Its position is
    that of an image of the mosaic's size about the centre of the first slice: see "Siemens mosaic format"
    in nibabel's documentation.

    Args:
        header: The data set.
        size: (rows, columns) of the mosaic.
        spacing: Millimetres between rows and between columns, (2,).
        orientation: Direction cosines along a row and along a column, (6,).
        position: ImagePositionPatient of the mosaic, (3,).

    Raises:
        ValueError: Without the private header, or with one that doesn't fit the image.
    """
    count, normal = _siemens(header)
    edge = math.ceil(math.sqrt(count))
    if count < 1 or size[0] % edge or size[1] % edge:
        raise ValueError(f"{count} slices don't fit into a mosaic of {size[1]}x{size[0]} pixels")
    row, column = orientation[:3], orientation[3:]
    if abs(np.linalg.norm(normal) - 1) > 1e-2 or abs(abs(normal @ np.cross(row, column)) - 1) > 1e-2:
        raise ValueError(f"the normal {normal.tolist()} does not stand on the slices")
    distance = abs(float(header.get("SpacingBetweenSlices") or header.SliceThickness))
    tile = (size[0] // edge, size[1] // edge)
    beyond = (np.array(size) - tile) / 2 * spacing
    first = position + column * beyond[0] + row * beyond[1]
    places = range(count)
    return Tiles(
        tile,
        [(place // edge * tile[0], place % edge * tile[1]) for place in places],
        [first + place * distance * normal for place in places],
    )


def _siemens(header: Any) -> tuple[int, np.ndarray]:
    """The number of slices, and the direction in which they follow each other, (3,) in LPS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls its DICOM reader experimental.
        from nibabel.nicom import csareader
    csa = csareader.get_csa_header(header)
    count = csareader.get_n_mosaic(csa) if csa else None
    normal = csareader.get_slice_normal(csa) if csa else None
    if count is None or normal is None:
        raise ValueError("a mosaic without Siemens's private header: convert it with dcm2niix")
    return int(count), normal
