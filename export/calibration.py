"""Real slices of a folder: some to calibrate and compare on, others to measure what it cost."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from keras_mrisr.data import Split, read_dataset
from keras_mrisr.data.slices import SliceDataset, evenly_spaced
from keras_mrisr.errors import DataError, ModelError
from keras_mrisr.export.parity import fit_size
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.types import PathLike

COUNT = 16  # Slices of each kind.
# Standard deviation, on a range of 1, below which a slice is air: it has no ranges to calibrate on, and
# whatever rounding does to it is too small to be measured.
_CONTENT = 0.01


@dataclasses.dataclass(frozen=True)
class RealSlices:
    """LR and HR in [0, 1].

    Attributes:
        calibration: LR slices (H, W, C) to calibrate on.
        lr: Other LR slices, of other patients where there are several.
        hr: The HR slices of these.
    """

    calibration: list[np.ndarray]
    lr: list[np.ndarray]
    hr: list[np.ndarray]


def real_slices(
    root: PathLike, info: ModelInfo, count: int = COUNT, size: Sequence[int] | None = None
) -> RealSlices:
    """Reads evenly spaced slices of a folder and degrades them as the model was trained for.

    Slices that show nothing are left out.

    Args:
        root: Folder of HR slices: the LGG tree or images.
        info: `ModelInfo` of the model. Of its own data, patients that it was trained on calibrate and
            those that it never saw measure.
        count: Slices of each kind, at most.
        size: (height, width) that LR shall have: larger slices are cropped, smaller ones get their edge
            repeated.

    Raises:
        DataError: No such folder, or no slices of so many channels in it that show something.
        ModelError: A model of volumes, or one that does not say what it was trained to undo.
    """
    from keras_mrisr.data.pipeline import load_pairs, separate_channels
    from keras_mrisr.degrade import get_degradation

    if info.dimensions == 3:
        raise ModelError("A folder of slices is no calibration for a model of volumes: leave it out.")
    if not info.degradation:
        raise ModelError("The model does not say what it was trained to undo: give its `degradation`.")
    dataset = read_dataset(root, "auto", info.data.get("patient_pattern"))
    degradation = get_degradation(**info.degradation)

    def pairs_of(part: SliceDataset) -> list[Any]:
        # More than are wanted, for those that show nothing.
        places = evenly_spaced(len(part.slices), 4 * count, ends=True)
        chosen = dataclasses.replace(part, slices=tuple(part.slices[place] for place in places))
        options: dict[str, Any] = {"neighbours": info.neighbours, "stacks": dataset}
        pairs = load_pairs(chosen, degradation, info.image_channels, **options)
        if info.image_channels is None:
            pairs = separate_channels(pairs)
        pairs = [pair for pair in pairs if pair.normalizer.normalize(pair.lr).std() > _CONTENT]
        if not pairs:
            raise DataError(f"{root}: its slices show nothing but air. Calibrate and measure on real slices.")
        return [pairs[place] for place in evenly_spaced(len(pairs), count, ends=True)]

    calibration, measured = map(pairs_of, _halves(dataset, info))
    hr_size = None if size is None else [info.scale * edge for edge in size]
    return RealSlices(
        [fit_size(pair.normalizer.normalize(pair.lr), size) for pair in calibration],
        [fit_size(pair.normalizer.normalize(pair.lr), size) for pair in measured],
        [fit_size(pair.normalizer.normalize(pair.hr), hr_size) for pair in measured],
    )


def psnr(run: Callable[[np.ndarray], Any], slices: RealSlices) -> float:
    """Mean PSNR in dB of a network over slices, SR clipped to [0, 1], data range 1.

    Args:
        run: Function from (1, H, W, C) to the SR array.
        slices: `RealSlices`; `lr` and `hr` count.
    """
    values = []
    for lr, hr in zip(slices.lr, slices.hr, strict=True):
        sr = np.clip(np.asarray(run(lr[np.newaxis]))[0], 0, 1)
        # A slice without any error would have no finite PSNR.
        values.append(-10 * np.log10(max(np.mean((sr.astype("float64") - hr) ** 2), 1e-10)))
    return float(np.mean(values))


def _halves(dataset: SliceDataset, info: ModelInfo) -> Iterable[SliceDataset]:
    """(calibration, measurement): seen and unseen patients, or else the first and second half."""
    split = info.data.get("split") or {}
    stored_name = Split((), (), (), salt=split.get("salt", "")).stored_name
    trained, unknown = (set(split.get(part, ())) for part in ("train", "test"))
    seen, unseen = ({p for p in dataset.patients if stored_name(p) in part} for part in (trained, unknown))
    if not seen or not unseen:
        half = len(dataset.patients) // 2
        seen, unseen = set(dataset.patients[:half]), set(dataset.patients[half:])
    if seen:
        return dataset.select(seen), dataset.select(unseen)
    # One patient: every other slice.
    if len(dataset.slices) < 2:
        raise DataError(f"{dataset.root} holds one slice; calibration needs several. Give more.")
    return (dataclasses.replace(dataset, slices=dataset.slices[first::2]) for first in range(2))
