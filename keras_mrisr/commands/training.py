"""What the commands that train share: options made from their config, progress, and what comes next."""

import argparse
import contextlib
import dataclasses
import logging
import os
import shlex
import signal
import time
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from keras_mrisr import ranks
from keras_mrisr.commands.arguments import Commands, Parser, read_training_data, stopped
from keras_mrisr.errors import MrisrError

if typing.TYPE_CHECKING:
    from keras_mrisr.config import DataConfig

_HOLD = 10.0  # Seconds that a rank keeps an error to itself.


@dataclasses.dataclass(frozen=True)
class Task:
    """Something that a command trains.

    Attributes:
        keys: Keys of the config that have an option of their own.
        base: Makes the config under that of the options, of the presets that the options name.
        start: Trains, with (config, options, dataset, report); returns what to say in the end.
        presets: Name and arguments of the options that `base` reads.
        masks: Whether it is trained on the masks, too.
    """

    keys: Sequence[str]
    base: Callable[[argparse.Namespace], Any]
    start: Callable[..., str]
    presets: Sequence[tuple[str, dict[str, Any]]] = ()
    masks: bool = False


def add_training_command(
    actions: Commands,
    common: Parser,
    name: str,
    *,
    does: str,
    example: str,
    tasks: Mapping[str, Task],
) -> None:
    """Adds a command that trains.

    Args:
        actions: Where it is added.
        common: Parser with the options of every command.
        name: The word for it.
        does: What it does, as a sentence.
        example: A command line.
        tasks: What it trains by the name that --task takes, the usual one first. Each has options of its own.
    """
    usual = next(iter(tasks))

    def add_options(parser: Parser) -> None:
        from keras_mrisr.commands.config_options import add_config_options

        chosen = _task_in(parser.words)
        if chosen in tasks and chosen != usual:
            parser.prog += f" --task {chosen}"  # So that messages and the help are those of the task.
        task = tasks.get(chosen or usual, tasks[usual])
        if len(tasks) > 1:
            parser.add_argument(
                "--task", choices=list(tasks), default=usual,
                help=f"what for (default: {usual}); --task and --help together show its options",
            )  # fmt: skip
        parser.add_argument("--out", metavar="RUN", required=True, help="folder of the run")
        parser.add_argument("--overwrite", action="store_true", help="delete an earlier run in --out")
        for flag, arguments in task.presets:
            parser.add_argument(flag, **arguments)
        add_config_options(parser, task.base, task.keys)

    def run(options: argparse.Namespace) -> int:
        from keras_mrisr.commands.config_options import read_config_options
        from keras_mrisr.folders import refuse_incomplete
        from keras_mrisr.terminal import load_tensorflow, say, training_progress

        task = tasks[getattr(options, "task", usual)]
        config = read_config_options(options, task.base(options))
        strategy = getattr(config.training, "strategy", "none")
        with _said_once(ranks.check_started() if strategy == ranks.DISTRIBUTED else 0):
            # First: a wrong path is answered before TensorFlow is loaded.
            _check_run(options)
            dataset, failures = read_training_data(config, task.masks)
            load_tensorflow()
            from keras_mrisr.training import TrainingInterruptedError

            try:
                with training_progress(*_counts(config)) as report:
                    text = task.start(config, options, dataset, report)
            except TrainingInterruptedError:
                return stopped()
            say(text)
        if strategy != ranks.DISTRIBUTED:  # torchrun takes any other exit code than 0 for a crash.
            refuse_incomplete(failures, "read")
        return 0

    parser = actions.add_parser(
        name,
        parents=[common],
        help=does[0].lower() + does[1:-1],
        description=f"{does} Started again with the same words, a stopped run is resumed.",
        example=example,
        options=add_options,
    )
    parser.set_defaults(run=run)


@contextlib.contextmanager
def _said_once(rank: int) -> Iterator[None]:
    """Leaves it to rank 0 of a training to say what all ranks would say."""
    from keras_mrisr import terminal

    if not rank:
        yield
        return
    terminal.console.quiet = True
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Nothing is half-written, and rank 0 says why.
    logging.getLogger("keras_mrisr").setLevel(logging.ERROR)
    try:
        yield
    except (MrisrError, OSError) as error:
        # Where rank 0 found the same, torchrun ends this process meanwhile.
        time.sleep(_HOLD)
        raise MrisrError(f"Rank {rank}: {error}") from error


def _task_in(words: Sequence[str]) -> str | None:
    """The task that a command line names, before its other options are known."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--task")
    try:
        return parser.parse_known_args(words)[0].task
    except argparse.ArgumentError:  # Without a name: for the command's own parser to refuse.
        return None


def _check_run(options: argparse.Namespace) -> None:
    """Checks that there can be a run in --out; what is in it is looked at by the training."""
    from keras_mrisr.files import check_new_directory

    there = os.path.isfile(os.path.join(options.out, "config.yaml"))
    check_new_directory(options.out, overwrite=options.overwrite or there)


def next_command(words: Sequence[object], data: "DataConfig") -> str:
    """A command line on the same data."""
    kind = ["--kind", data.kind] if data.kind != "auto" else []
    chosen = [
        word for name in ("include", "exclude") for one in getattr(data, name) for word in (f"--{name}", one)
    ]
    return shlex.join(["mrisr", *map(str, words), "--data", data.root, *kind, *chosen])


def _counts(config: Any) -> tuple[int | None, int | None]:
    """Epochs and steps of one, as far as both stages of an adversarial training have them in common."""
    steps = config.training.steps_per_epoch
    stage = config.adversarial.pretraining if hasattr(config, "adversarial") and config.adversarial.on else {}
    return (None if stage else config.training.epochs), (None if "steps_per_epoch" in stage else steps)
