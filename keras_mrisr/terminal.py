"""What the command line shows: progress bars on a terminal, log lines elsewhere, tables.

Progress and results stand on stdout, warnings and errors on stderr.
"""

import contextlib
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from keras_mrisr import types
from keras_mrisr.errors import MissingDependencyError
from keras_mrisr.stderr import captured_stderr

# What a terminal would act on or lay out another way: control characters, line separators, characters that
# turn the direction of writing, and the bytes of file names that are no text.
_UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Libraries that say what is wrong with a file, and then raise it as an error.
_REPEATED = ("nibabel", "tifffile")


class _Console(Console):
    """Shows control characters in data as text; the escape codes of colours are its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


console: Console = _Console()
log = logging.getLogger(__name__)


def start_logging(
    quiet: bool = False, debug: bool = False, translate: Callable[[str], str] | None = None
) -> None:
    """Shows what the package logs, and the warnings of everybody.

    Args:
        quiet: Only warnings.
        debug: Also what libraries log that then raise the same as an error.
        translate: Puts messages of the library in the words of a command.
    """
    global _translate
    _translate = translate or _as_it_is
    for name in _REPEATED:
        logging.getLogger(name).setLevel(logging.NOTSET if debug else logging.CRITICAL + 1)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _LogHandler):
            root.removeHandler(handler)
    root.addHandler(_LogHandler())
    logging.getLogger("keras_mrisr").setLevel(logging.WARNING if quiet else logging.INFO)


def printable(text: str) -> str:
    """The text with everything but letters, spaces and line breaks as escapes such as \\x1b."""
    return _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], text)


def complain(text: str) -> None:
    """Prints one line on stderr."""
    print(_one_line(text), file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Prints lines as they are: a path is never broken over two lines, nor read as markup."""
    console.print(_translate(text), highlight=False, markup=False, soft_wrap=True)


def show(renderable: RenderableType) -> None:
    """Prints a table or report, fitted to a terminal; elsewhere long lines stay whole."""
    console.print(renderable, soft_wrap=not console.is_terminal)


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[types.Progress]:
    """Yields `progress(done, total)`: a bar on a terminal, a log line every 10 seconds elsewhere.

    Both say how much time is left.
    """
    if not console.is_terminal:
        yield _LogLines(title)
        return
    with _bar() as bar:
        task = bar.add_task(title, total=None)
        yield _updates(bar, task)


@contextlib.contextmanager
def training_progress(epochs: int | None = None, steps: int | None = None) -> Iterator[Any]:
    """Yields `report(epoch, step, logs)` for `train`: one bar an epoch and a line with its scores.

    Without `epochs` no total is shown, as for a training of two stages.

    `report.stage(title)` gives a `progress(done, total)` for work before or after the training.
    """
    if not console.is_terminal:
        yield _TrainingLog(epochs, steps)
        return
    with _bar() as bar:
        yield _TrainingBar(bar, epochs, steps)


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Prints a plain table; the first column is left, the others right aligned."""
    if title:
        say(title)  # A title of the table's own would be broken at the table's width.
    # Ten columns have to fit 80 characters without a cut word.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1) if console.width >= 100 else 0)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    show(table)


def load_tensorflow() -> None:
    """Imports TensorFlow without the lines that its libraries write to stderr when they are loaded.

    Its own warnings stay off: they are advice to programmers, such as what to do against retracing.

    Raises:
        MissingDependencyError: Keras or its backend is missing, as where only ONNX exports run.
    """
    with captured_stderr() as said:
        try:
            import keras  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"This needs {error.name}, which is not installed: pip install keras tensorflow. Without it "
                "mrisr upscale takes --in-plane with bundled models, or --model FILE.onnx, and mrisr "
                "serve-client takes --rest."
            ) from error
        except ImportError as error:
            error.add_note(said())
            raise
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _as_it_is(text: str) -> str:
    return text


_translate: Callable[[str], str] = _as_it_is


def _one_line(text: str) -> str:
    return printable(re.sub(r"\s*\n\s*", " ", _translate(text).strip()))


class _LogHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # Looked up for each line: a progress bar puts streams of its own there, which print above it.
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        print(_one_line(record.getMessage()), file=stream, flush=True)


class _TrainingLog:
    """Reports a training in log lines: an epoch's scores, and within long epochs how far it is."""

    def __init__(self, epochs: int | None, steps: int | None) -> None:
        self.epochs, self.steps = epochs, steps
        self.started, self.first = time.monotonic(), 0
        self.within = _LogLines("")

    def __call__(self, epoch: int, step: int | None, logs: Mapping[str, float]) -> None:
        if not self.first:  # Not 1 in a run that is resumed.
            self.started, self.first = time.monotonic(), epoch
        if step is None:
            self.finished(f"{_epoch_line(epoch, logs)}{self.left(epoch)}")
        else:
            self.stepped(epoch, step, logs)

    def left(self, epoch: int) -> str:
        """What to say of the time that the other epochs will take."""
        return _left(self.started, epoch - self.first + 1, (self.epochs or epoch) - self.first + 1)

    def finished(self, line: str) -> None:
        log.info("%s", line)

    def stepped(self, epoch: int, step: int, logs: Mapping[str, float]) -> None:
        if self.within.title != f"Epoch {epoch}":
            self.within = _LogLines(f"Epoch {epoch}", seconds=60)
        self.within(step, self.steps or step)

    def stage(self, title: str) -> types.Progress:
        return _LogLines(title)


class _TrainingBar(_TrainingLog):
    def __init__(self, bar: Progress, epochs: int | None, steps: int | None) -> None:
        super().__init__(epochs, steps)
        self.bar = bar
        self.task = bar.add_task("Reading slices", total=steps)

    def finished(self, line: str) -> None:
        self.bar.console.print(line, highlight=False)

    def stepped(self, epoch: int, step: int, logs: Mapping[str, float]) -> None:
        of = f"/{self.epochs}" if self.epochs else ""
        title = f"Epoch {epoch}{of}  loss {logs['loss']:.5f}"
        self.bar.update(self.task, description=title, completed=step, visible=True)

    def stage(self, title: str) -> types.Progress:
        self.bar.update(self.task, visible=False)
        return _updates(self.bar, self.bar.add_task(title, total=None))


class _LogLines:
    def __init__(self, title: str, seconds: float = 10) -> None:
        self.title, self.seconds = title, seconds
        self.started = self.last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last > self.seconds and done < total:
            self.last = now
            log.info("%s: %d of %d%s", self.title, done, total, _left(self.started, done, total))


def _left(started: float, done: int, total: int) -> str:
    """ ", 3 min left", at the pace so far; nothing where nothing is left or known."""
    if not 0 < done < total:
        return ""
    seconds = (time.monotonic() - started) / done * (total - done)
    if seconds < 90:
        return f", {seconds:.0f} s left"
    minutes = round(seconds / 60)
    return f", {minutes} min left" if minutes < 90 else f", {minutes // 60} h {minutes % 60} min left"


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _updates(bar: Progress, task: TaskID) -> types.Progress:
    return lambda done, total: bar.update(task, completed=done, total=total)


def _epoch_line(epoch: int, logs: Mapping[str, float]) -> str:
    line = f"Epoch {epoch}: loss {logs['loss']:.5f}"
    if "val_psnr" in logs:
        line += f", validation PSNR {logs['val_psnr']:.2f} dB"
    if "val_ssim" in logs:
        line += f", SSIM {logs['val_ssim']:.4f}"
    if "val_gain" in logs:
        line += f", {logs['val_gain']:+.2f} dB over the cubic B-spline"
    if "val_dice" in logs:
        line += f", validation Dice {logs['val_dice']:.4f}"
    for label in ("tumour", "sequence"):
        if f"val_{label}_auc" in logs:
            line += f", validation AUC ({label}) {logs[f'val_{label}_auc']:.4f}"
    return line
