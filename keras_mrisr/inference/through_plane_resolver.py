"""A network that restores one axis, on the two families of planes that hold it."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from keras_mrisr.degrade.thick_slices import positions
from keras_mrisr.errors import DataError, ModelError
from keras_mrisr.inference.finish import Finish
from keras_mrisr.memory import memory_text, parse_memory, resident_memory
from keras_mrisr.model_info import ACQUISITION, POSITIONS, ThroughPlaneInfo
from keras_mrisr.types import Model, PathLike

# Pixels of the result that go through the network together: more are no faster.
_PIXELS_TOGETHER = 400_000
# Maps of features that are alive at once: of the blocks on the grid of the slices, and of the tail on that of
# the lines. Measured with TensorFlow 2.21 on a CPU, which keeps more than it needs.
_BODY_MAPS, _TAIL_MAPS = 6, 12
_FIXED = 96 * 10**6  # The kernels and the traced graph.
_FLIPS = ((False, False), (True, False), (False, True), (True, True))


class ThroughPlaneResolver:
    """Restores thick slices along their axis with a trained network.

    Args:
        network: `keras.Model` of `models.through_plane`.
        info: Its `ThroughPlaneInfo`.
        name: What messages and headers call it.
        memory: Bytes that this process may come to occupy in all, or text such as "2GB"; by default what the
            machine has available.
        finish: `keras.Model` of `models.volume_finish`, which makes one volume of both families of planes; by
            default their mean is taken.
    """

    def __init__(
        self,
        network: Model,
        info: ThroughPlaneInfo,
        name: str = "the model",
        memory: int | str | None = None,
        finish: Model | None = None,
    ) -> None:
        self.network = network
        self.info = info
        self.name = name
        self.memory = parse_memory(memory) if isinstance(memory, str) else memory
        self.finish = None if finish is None else Finish(finish, name)

    @classmethod
    def load(cls, path: PathLike, memory: int | str | None = None) -> Self:
        """Loads a model directory, or a bundled model by its name, such as "thick".

        Args:
            path: The directory or the name.
            memory: See `ThroughPlaneResolver`.

        Raises:
            ModelError: Nothing there, broken, or a model of another task.
        """
        from keras_mrisr.models.storage import FINISH, WEIGHTS, load_description, load_network
        from keras_mrisr.pretrained import find_model

        info = load_description(path, ThroughPlaneInfo)
        folder = find_model(path)
        network = load_network(folder / WEIGHTS)
        finish = load_network(folder / FINISH) if info.finish else None
        for one in filter(None, (network, finish)):
            one.jit_compile = False
        return cls(network, info, pathlib.Path(path).resolve().name, memory, finish)

    def restore(self, lr: np.ndarray, lines: int, thickness: float = 1.0) -> np.ndarray:
        """Restores a batch of planes.

        Args:
            lr: float32 (N, slices, W), nominally in [0, 1]; thick slices along axis 1.
            lines: Lines of the result, which cover the same extent.
            thickness: Slice thickness over slice spacing.

        Returns:
            float32 (N, lines, W).

        Raises:
            ModelError: The network gives something that is not finite.
        """
        count, slices = lr.shape[:2]
        rows = positions(slices, lines).astype("float32")
        scan = np.array([slices / lines, thickness], "float32")
        inputs = {
            "lr": lr[..., np.newaxis],
            POSITIONS: np.tile(rows, (count, 1)),
            ACQUISITION: np.tile(scan, (count, 1)),
        }
        sr = np.asarray(self.network.predict_on_batch(inputs))[..., 0]
        if not np.isfinite(sr).all():
            raise ModelError(
                f"{self.name} gives {sr.size - int(np.isfinite(sr).sum())} NaN or infinite values: nothing "
                "is written. The model diverged: take another."
            )
        return sr

    def outside_of(self, factor: float, thickness: float) -> str:
        """How a scan differs from what the model was made for, as `input_range.outside_of` says it."""
        for what, value, (least, most) in (
            ("a factor", factor, self.info.factors),
            ("a slice thickness over spacing", thickness, self.info.thickness),
        ):
            if not least - 1e-6 <= value <= most + 1e-6:
                return f"{what} of {value:.3g}; the model was made for {least:g} to {most:g}"
        return ""

    def planes_together(self, slices: int, lines: int, width: int, room: int | None = None) -> int:
        """How many planes may go through the network at once.

        Args:
            slices: Slices of a plane.
            lines: Lines of its result.
            width: Columns of both.
            room: Bytes that the network may take, or None for as many as it likes.

        Raises:
            DataError: One plane takes more.
        """
        most = max(1, _PIXELS_TOGETHER // (lines * width))
        if room is None:
            return most
        body, tail = (self.network.get_layer(name).filters for name in ("input_conv", "tail_conv"))
        plane = 4 * width * (_BODY_MAPS * body * slices + _TAIL_MAPS * tail * lines)
        if room - _FIXED < plane:
            needed = resident_memory() + plane + _FIXED
            raise DataError(
                f"Too little memory: this program and one plane of {lines} x {width} pixels in {self.name} "
                f"take {memory_text(needed)} beside the result. Allow more with `memory`."
            )
        return min(most, (room - _FIXED) // plane)


def restore_axis(
    resolver: ThroughPlaneResolver,
    volume: np.ndarray,
    axis: int,
    lines: int,
    thickness: float = 1.0,
    uncertainty: bool = False,
    report: Callable[[float], Any] | None = None,
    *,
    ensemble: bool = False,
    room: int | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Restores one axis of a volume in both families of planes, and makes one volume of them.

    Args:
        resolver: A `ThroughPlaneResolver`.
        volume: float32 (X, Y, Z), nominally in [0, 1].
        axis: The axis across the thick slices.
        lines: Its new number of voxels.
        thickness: Slice thickness over slice spacing.
        uncertainty: Also give the standard deviation; implies `ensemble`.
        report: Called with the passes over the volume that are done, such as 0.25.
        ensemble: Average over the flips of each plane, too: 4 times as slow.
        room: Bytes that the network may take; by default as many as it likes.

    Returns:
        (result, deviation): float32 arrays with `lines` along `axis`: the mean over both families (and their
        flips), or what the resolver's `finish` makes of them; and the standard deviation over them, or None.
    """
    means, deviation = restore_families(
        resolver, volume, axis, lines, thickness, uncertainty, report,
        ensemble=ensemble, room=room, apart=resolver.finish is not None,
    )  # fmt: skip
    if resolver.finish is None:
        return means[0], deviation
    passes = pass_count(uncertainty or ensemble)
    step = None if report is None else lambda share: report(passes + share)
    return resolver.finish(means, axis, room, step), deviation


def restore_families(
    resolver: ThroughPlaneResolver,
    volume: np.ndarray,
    axis: int,
    lines: int,
    thickness: float = 1.0,
    uncertainty: bool = False,
    report: Callable[[float], Any] | None = None,
    *,
    ensemble: bool = False,
    room: int | None = None,
    apart: bool = True,
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Restores one axis of a volume in both families of planes; see `restore_axis`.

    Args:
        apart: Give the mean of each family, and not that of both.

    Returns:
        (means, deviation): a list of two float32 arrays, of the planes across the first of the other axes and
        across the second, or of one; and the standard deviation over families and flips, or None.
    """
    shape = tuple(lines if place == axis else size for place, size in enumerate(volume.shape))
    totals = [np.zeros(shape, "float32") for _ in range(1 + apart)]
    squares = np.zeros(shape, "float32") if uncertainty else None
    flips = _FLIPS[: pass_count(uncertainty or ensemble) // 2]
    for number, family in enumerate(other for other in range(3) if other != axis):
        # Views: planes first, then the thick axis, then the columns.
        order = (family, axis, 3 - axis - family)
        planes, sums = np.transpose(volume, order), np.transpose(totals[min(number, apart)], order)
        square = None if squares is None else np.transpose(squares, order)
        _add_planes(resolver, planes, sums, square, flips, thickness, room, number * len(flips), report)
    passes = 2 * len(flips)
    for total in totals:
        total /= passes // len(totals)
    if squares is not None:
        squares /= passes
        _to_deviation(squares, totals)
    return totals, squares


def _add_planes(
    resolver: ThroughPlaneResolver,
    planes: np.ndarray,
    sums: np.ndarray,
    squares: np.ndarray | None,
    flips: Sequence[tuple[bool, bool]],
    thickness: float,
    room: int | None,
    done: int,
    report: Callable[[float], Any] | None,
) -> None:
    """Restores planes (N, slices, W) under each flip; adds the results and their squares to what is there."""
    lines = sums.shape[1]
    together = resolver.planes_together(planes.shape[1], lines, planes.shape[2], room)
    for passes, flip in enumerate(flips, done):
        for first in range(0, len(planes), together):
            part = slice(first, first + together)
            sr = _restore_planes(resolver, planes[part], flip, lines, thickness)
            sums[part] += sr
            if squares is not None:
                squares[part] += sr * sr
            if report is not None:
                report(passes + (first + len(sr)) / len(planes))


def _to_deviation(squares: np.ndarray, means: list[np.ndarray]) -> None:
    """Makes standard deviations of the means of squares, in place."""
    for place in range(len(squares)):  # Of the whole volume, it would take its memory twice more.
        mean = sum(one[place] for one in means) / len(means)
        squares[place] = np.sqrt(np.maximum(squares[place] - mean**2, 0))


def pass_count(ensemble: bool) -> int:
    """How many times the planes go over the volume: in two families, and their flips."""
    return 2 * (len(_FLIPS) if ensemble else 1)


def _restore_planes(
    resolver: ThroughPlaneResolver,
    planes: np.ndarray,
    flip: tuple[bool, bool],
    lines: int,
    thickness: float,
) -> np.ndarray:
    """Restores planes (N, slices, W), flipped there and back; those of one value stay as they are."""
    turn = (slice(None), *(slice(None, None, -1 if turned else 1) for turned in flip))
    sr = np.empty((len(planes), lines, planes.shape[2]), "float32")
    flat = np.array([one.min() == one.max() for one in planes])
    sr[flat] = planes[flat][:, :1, :1]
    if not flat.all():
        lr = np.ascontiguousarray(planes[~flat][turn])
        sr[~flat] = resolver.restore(lr, lines, thickness)[turn]
    return sr
