"""What a run shows of itself: a table of its epochs, curves, sample images, and TensorBoard's files."""

import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_mrisr import ranks
from keras_mrisr.data.pipeline import SlicePair
from keras_mrisr.degrade import interpolate
from keras_mrisr.files import whole_file, write_csv
from keras_mrisr.training.state import RunState
from keras_mrisr.types import Model, PathLike

SHOWN = ("LR", "bicubic", "SR", "HR")
"""What stands side by side in a sample."""


class Record(keras.callbacks.Callback):
    """Keeps one row of numbers an epoch: in the `RunState`, in `history.csv`, `curves.png` and TensorBoard.

    `samples.png` shows sample images. Both pictures are made again after a minute, and at the end of a fit.

    Args:
        directory: The run.
        state: The `RunState`.
        sampler: Optional function that returns (N, H, W, C) images in [0, 1], each of them `shown`.
        sample_every: Epochs between two sets of images for TensorBoard.
        shown: What stands side by side in a sample.
    """

    def __init__(
        self,
        directory: PathLike,
        state: RunState,
        sampler: Callable[[], np.ndarray] | None = None,
        sample_every: int = 5,
        shown: Sequence[str] = SHOWN,
    ) -> None:
        super().__init__()
        self.directory = pathlib.Path(directory)
        self.state = state
        self.sampler = sampler
        self.sample_every = sample_every
        self.shown = shown
        self._writer: Any = None
        self._pictured = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row = {"epoch": epoch + 1, **{k: float(v) for k, v in (logs or {}).items()}, **self._rates()}
        self.state.history = [r for r in self.state.history if r["epoch"] <= epoch] + [row]
        if not ranks.leads():
            return
        columns = list(dict.fromkeys(key for row in self.state.history for key in row))
        write_csv(self.directory / "history.csv", columns, self.state.history)
        self._write_tensorboard(epoch + 1, row)
        if time.monotonic() - self._pictured > 60:
            self._write_pictures()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if not ranks.leads():
            return
        self._write_pictures()
        if self._writer is not None:
            self._writer.flush()

    def _rates(self) -> dict[str, float]:
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        rates = {part.name: part.learning_rate for part in getattr(optimizer, "optimizers", ())}
        rates = rates or {"learning_rate": optimizer.learning_rate}
        return {name: float(keras.ops.convert_to_numpy(rate)) for name, rate in rates.items()}

    def _write_pictures(self) -> None:
        _save(_curves(self.state.history), self.directory / "curves.png")
        if self.sampler is not None:
            figure = _samples(self.sampler(), self.state.history[-1]["epoch"], self.shown)
            _save(figure, self.directory / "samples.png")
        self._pictured = time.monotonic()

    def _write_tensorboard(self, epoch: int, row: dict[str, float]) -> None:
        try:
            import tensorflow as tf
        except ImportError:  # Another backend may run where TensorFlow is not installed.
            return
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self.directory / "tensorboard"))
        with self._writer.as_default(step=epoch):
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(name, value)
            if self.sampler is not None and (epoch == 1 or epoch % self.sample_every == 0):
                images = self.sampler()
                name = "_".join(self.shown).lower().replace(" ", "_")
                tf.summary.image(name, images, max_outputs=len(images))
        self._writer.flush()


def slice_sampler(generator: Model, pairs: Sequence[SlicePair]) -> Callable[[], np.ndarray]:
    """A function that makes the sample images of a generator of slices, from three of the pairs."""
    chosen = [pairs[i] for i in sorted({len(pairs) // 4, len(pairs) // 2, 3 * len(pairs) // 4})]

    def sample() -> np.ndarray:
        rows = []
        for pair in chosen:
            stack, lr, hr = (pair.normalizer.normalize(part) for part in (pair.lr, pair.middle_lr, pair.hr))
            scale = hr.shape[0] // lr.shape[0]
            sr = np.asarray(generator.predict_on_batch(stack[np.newaxis]))[0]
            shown = [interpolate(lr, scale, "nearest"), interpolate(lr, scale, "bicubic"), sr, hr]
            row = np.clip(np.concatenate(shown, axis=1), 0, 1)
            rows.append(row if row.shape[-1] in (1, 3) else row[..., :1])
        return np.stack([row for row in rows if row.shape == rows[0].shape])

    return sample


def _curves(history: Sequence[dict[str, float]]) -> Any:
    """A figure with a panel for the loss, each score and each learning rate over the epochs."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(name for row in history for name in row if name != "epoch"))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4 * columns, 2.6 * rows), layout="constrained")
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(rows, columns, place)
        points = [(row["epoch"], row[name]) for row in history if name in row]
        axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else None)
        axes.set_title(name.replace("val_", "validation ").replace("_", " "), fontsize=10)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.grid(alpha=0.3)
        if place > len(names) - columns:
            axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _samples(images: np.ndarray, epoch: int, shown: Sequence[str]) -> Any:
    """A figure of sample images, one above the other."""
    from matplotlib.figure import Figure

    height, width = images.shape[1:3]
    figure = Figure(figsize=(12, 12 * len(images) * height / width + 0.5), layout="constrained")
    for place, image in enumerate(images, start=1):
        axes = figure.add_subplot(len(images), 1, place)
        # As many dots as pixels, so that what is seen is the network's and not the figure's resampling.
        axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=1)
        axes.set_xticks([(place + 0.5) * width / len(shown) for place in range(len(shown))], shown)
        axes.tick_params(bottom=False, top=False, labelbottom=False, labeltop=place == 1)
        axes.set_yticks([])
    figure.supxlabel(f"validation slices after epoch {epoch}", fontsize=10)
    return figure


def _save(figure: Any, path: pathlib.Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with whole_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
