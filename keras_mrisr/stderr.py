"""What libraries in C write to stderr, past every log."""

import contextlib
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)
_lock = threading.RLock()  # There is one stderr for all threads.


@contextlib.contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Within the block, what the process writes to stderr is kept back, and logged at its end.

    Yields:
        A function that returns what was kept back so far.
    """
    with _lock, tempfile.TemporaryFile() as file:

        def said() -> str:
            return os.pread(file.fileno(), 2**20, 0).decode(errors="replace").strip()

        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            stderr = os.dup(2)
        except OSError:  # A program without one.
            yield said
            return
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if words := said():
                log.debug("On stderr: %s", words)
