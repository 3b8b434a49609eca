"""The `mrisr` command: turns arguments into a config and calls one library function."""

import argparse
import os
import sys

from keras_mrisr.commands import (
    compare,
    data,
    demo,
    evaluate,
    export,
    features,
    models,
    segment,
    serve_client,
    train,
    tune,
    upscale,
)
from keras_mrisr.commands.arguments import Parser
from keras_mrisr.errors import InputError
from keras_mrisr.version import __version__

COMMANDS = (
    demo, data, train, tune, evaluate, compare, upscale, models, segment, features, export, serve_client,
)  # fmt: skip


def main(arguments=None):
    """Runs one command.

    Args:
        arguments: List of words; by default those of the command line.

    Returns:
        Exit code: 0 done, 2 bad input (one line on stderr), 130 stopped by the user.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = _build_parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        getattr(options, "parser", parser).print_help()
        return 0
    from keras_mrisr.terminal import start_logging

    start_logging(options.quiet)
    try:
        return options.run(options) or 0
    except InputError as error:
        if options.debug:
            raise
        return _fail(str(error), 2)
    except OSError as error:
        if options.debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 2)
    except KeyboardInterrupt:
        return _fail("stopped", 130)


def _fail(message, code):
    print(f"mrisr: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def _build_parser():
    parser = Parser(prog="mrisr", description="Super-resolution of MRI. For research; not a medical device.")
    parser.add_argument("--version", action="version", version=f"keras-mrisr {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--quiet", action="store_true", help="only results and errors")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    for command in COMMANDS:
        command.add(commands, common)
    return parser
