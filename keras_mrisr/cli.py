"""The `mrisr` command: turns arguments into a config and calls one library function."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from keras_mrisr.commands import (
    bids,
    compare,
    data,
    demo,
    dicom_node,
    evaluate,
    export,
    features,
    models,
    readers,
    segment,
    serve_client,
    train,
    tune,
    upscale,
)
from keras_mrisr.commands.arguments import Parser
from keras_mrisr.errors import IncompleteError, MrisrError
from keras_mrisr.registration import import_user_code
from keras_mrisr.version import __version__

COMMANDS = (
    demo, data, train, tune, evaluate, compare, readers, upscale, bids, dicom_node, models, segment, features,
    export, serve_client,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: List of words; by default those of the command line.

    Returns:
        Exit code: 0 done, 1 part is done and part failed, 2 bad input (one line on stderr), 130 stopped by
        the user, 141 the reader of stdout has gone, 143 stopped by SIGTERM. A training that saved all on
        SIGTERM exits with 130.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # Nobody reads stdout any more, as after `| head -1`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # For Python's last flush.
        return 141


def _run(arguments: Sequence[str] | None) -> int:
    options = _build_parser().parse_args(arguments)
    parser: Parser = options.parser
    if not hasattr(options, "run"):
        parser.print_help()
        return 0
    from keras_mrisr.terminal import start_logging

    start_logging(options.quiet, options.debug, parser.translate)
    try:
        with _clean_termination():
            import_user_code(getattr(options, "import"))
            return options.run(options) or 0
    except _Terminated:
        return _fail("stopped", 143)
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    except BrokenPipeError:
        raise
    except (MrisrError, MemoryError, OSError) as error:
        if options.debug:
            raise
        return _fail(_reason(error), 1 if isinstance(error, IncompleteError) else 2)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return f"Out of memory. {error}"
    return str(error)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which stops a command as Ctrl-C does: half-written outputs are removed on the way out."""


@contextlib.contextmanager
def _clean_termination() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread may set handlers.
        return

    def terminate(number: int, frame: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        # None stands for a handler that was not set from Python and cannot be given back.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _fail(message: str, code: int) -> int:
    from keras_mrisr.terminal import complain

    complain(f"mrisr: error: {message}")
    return code


def _build_parser() -> Parser:
    parser = Parser(prog="mrisr", description="Super-resolution of MRI. For research; not a medical device.")
    parser.add_argument("--version", action="version", version=f"keras-mrisr {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    common = Parser(add_help=False)
    common.add_argument(
        "--import", action="append", default=[], metavar="MODULE",
        help="import this before: a module or .py file that registers layers of your own with Keras",
    )  # fmt: skip
    common.add_argument("--quiet", action="store_true", help="only results and errors")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    for command in COMMANDS:
        command.add(commands, common)
    return parser
