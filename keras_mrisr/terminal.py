"""What the command line shows: progress bars on a terminal, log lines elsewhere, tables."""

import contextlib
import logging
import os
import sys
import tempfile
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

console = Console()
log = logging.getLogger(__name__)


@contextlib.contextmanager
def progress_bar(title):
    """Yields `progress(done, total)`: a bar on a terminal, a log line every 10 seconds elsewhere."""
    if not console.is_terminal:
        yield _LogLines(title)
        return
    with _bar() as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def training_progress(epochs, steps=None):
    """Yields `report(epoch, step, logs)` for `train`: one bar an epoch and a line with its scores."""
    if not console.is_terminal:
        yield _log_epoch
        return
    with _bar() as bar:
        task = bar.add_task("Reading", total=steps)

        def report(epoch, step, logs):
            if step is None:
                bar.console.print(_epoch_line(epoch, logs), highlight=False)
            else:
                title = f"Epoch {epoch}/{epochs}  loss {logs['loss']:.5f}"
                bar.update(task, description=title, completed=step)

        yield report


def print_rows(columns, rows, title=None):
    """Prints a plain table; the first column is left, the others right aligned."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def load_tensorflow():
    """Imports TensorFlow without the lines that its libraries write to stderr when they are loaded."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as chatter:
        stderr = os.dup(2)
        os.dup2(chatter.fileno(), 2)
        try:
            import keras  # noqa: F401
        except ImportError:
            chatter.seek(0)
            os.write(stderr, chatter.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


class _LogLines:
    def __init__(self, title):
        self.title = title
        self.last = time.monotonic()

    def __call__(self, done, total):
        now = time.monotonic()
        if now - self.last > 10 and done < total:
            self.last = now
            log.info("%s: %d of %d", self.title, done, total)


def _bar():
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _log_epoch(epoch, step, logs):
    if step is None:
        log.info("%s", _epoch_line(epoch, logs))


def _epoch_line(epoch, logs):
    line = f"Epoch {epoch}: loss {logs['loss']:.5f}"
    if "val_psnr" in logs:
        line += f", validation PSNR {logs['val_psnr']:.2f} dB, SSIM {logs['val_ssim']:.4f}"
    return line
