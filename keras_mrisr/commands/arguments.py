"""Arguments that several commands take, and how commands end."""

import argparse
import collections.abc
import os
import re
import sys
import typing

from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.types import PathLike

if typing.TYPE_CHECKING:
    from keras_mrisr.data.slices import SliceDataset
    from keras_mrisr.folders import Choice, Failure

QUOTES = "\"'"
# Parameters of the library whose option has another name, in one command or other.
_OPTIONS = {
    "source": ("input",), "target": ("output", "out"), "destination": ("dest",), "path": ("image",),
    "run": ("model",), "models": ("model",), "sr_models": ("sr_model",), "data_root": ("data",),
    "true_lr": ("lr",), "figure_cases": ("cases",), "evaluations": ("evaluation",),
}  # fmt: skip
_NAME = re.compile(r"`([A-Za-z_][\w.]*)(?:=([^`]*))?`")


class _Formatter(argparse.HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n".join(line if line[:1] == " " else fill(line, width, indent) for line in text.splitlines())


class Parser(argparse.ArgumentParser):
    """One line for a usage error, as for any other bad input; `options.parser` is the command's own.

    Args:
        options: Adds the command's options to it when they are first needed: some take time to make.
        example: A command line that the help ends with.
    """

    def __init__(
        self,
        *args: typing.Any,
        options: collections.abc.Callable[["Parser"], None] | None = None,
        example: str = "",
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.formatter_class = _Formatter
        self.epilog = f"example:\n  {example}" if example else None
        self.config_keys: list[str] = []
        self.words: list[str] = []  # Those of the command line, when the options are made.
        self._add_options = options

    def parse_known_args(self, args: typing.Any = None, namespace: typing.Any = None) -> typing.Any:
        if self._add_options:
            self.words = list(args or ())
            self._add_options(self)
            self._add_options = None
        options, unknown = super().parse_known_args(args, namespace)
        if not hasattr(options, "parser"):
            options.parser = self
        if unknown:  # Said by the command itself, whose help lists what it takes.
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown

    def error(self, message: str) -> typing.NoReturn:
        from keras_mrisr.terminal import complain

        complain(f"{self.prog}: error: {message} (see {self.prog} --help)")
        sys.exit(2)

    def _print_message(self, message: str, file: typing.Any = None) -> None:
        (file or sys.stderr).write(message)  # argparse's own swallows a broken pipe.

    def translate(self, text: str) -> str:
        """A message of the library in the words of this command.

        The library names its parameters in backticks. `volume_index` becomes --volume-index, `overwrite=True`
        --overwrite, `output` OUT, and a config key `training.gain` becomes --set training.gain.
        """
        return _NAME.sub(self._word, text)

    def _word(self, found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        action = self._action_of(name, value)
        if action is not None:
            word = action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
            return word if value is None or action.nargs == 0 else f"{word} {value.strip(QUOTES)}"
        rest = next((action.dest for action in self._actions if action.dest in ("set", "fix")), None)
        if "." in name and rest is not None:
            return f"--{rest} {name}" if value is None else f"--{rest} {name}={value.strip(QUOTES)}"
        return found[0]

    def _action_of(self, name: str, value: str | None) -> argparse.Action | None:
        """The option or argument that gives a parameter this value."""
        names = {name, *_OPTIONS.get(name, ())}
        for action in self._actions:
            # Of several flags for one parameter, such as --grpc and --rest, the one that sets this value.
            fits = action.nargs != 0 or value is None or value in (repr(action.const), f"{action.const}")
            if fits and names & {action.dest, action.dest.split(".")[-1]}:
                return action
        return None


DATA_KEYS = ("data.root", "data.kind", "data.patient_pattern", "data.include", "data.exclude")
"""Keys of a config that say which data a command trains on."""

Commands: typing.TypeAlias = "argparse._SubParsersAction[Parser]"


def add_data_kind(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", default="auto", help="auto, lgg, images or volumes (default: auto)")
    parser.add_argument(
        "--patient-pattern",
        metavar="REGEX",
        help="finds the patient in a file's relative path (default: its folder)",
    )


def add_choice(parser: argparse._ActionsContainer, of: str) -> None:
    """Options about which files of a folder are taken; see `choice_of`."""
    for name, what in (("include", "take only"), ("exclude", "leave out")):
        parser.add_argument(
            f"--{name}", metavar="PATTERN", action="append", default=[],
            help=f"{what} files of such names, as '*_T1w.nii.gz', or with a slash of such paths in {of}; may "
            "be given several times",
        )  # fmt: skip


def choice_of(options: argparse.Namespace) -> "Choice":
    """What the options of `add_choice` say."""
    from keras_mrisr.folders import Choice

    return Choice(options.include, options.exclude)


def add_degradation(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--degradation",
        metavar="NAME[:KEY=VALUE,...]",
        help="degrade by this instead of what the models undo, e.g. paper or kspace:window=hamming",
    )


def parse_degradation(text: str | None) -> dict[str, typing.Any] | None:
    """Turns "kspace:window=hamming" into {"name": "kspace", "window": "hamming"}; None stays None."""
    from keras_mrisr.config import parse_override

    if text is None:
        return None
    name, _, words = text.partition(":")
    options = dict(map(parse_override, words.split(","))) if words else {}
    for key in ("name", "scale"):
        if key in options:
            raise ConfigError(f"--degradation {text}: {key!r} is no option of a degradation.")
    return {"name": name, **options}


def check_exists(*paths: PathLike) -> None:
    """Answers a wrong path at once, before TensorFlow is loaded."""
    for path in paths:
        if not os.path.exists(path):
            raise ConfigError(f"{path} does not exist. Check the path.")


def secret(file: str | None, variable: str) -> str | None:
    """A token or password from a file or the environment, or None. An option could be seen by others."""
    if file is None:
        return os.environ.get(variable, "").strip() or None
    check_exists(file)
    with open(file, encoding="utf-8") as opened:
        return opened.read().strip() or None


def add_perception(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """The dial of a model with a GAN end; with `several`, a list of places on it."""
    parser.add_argument(
        "--perception", type=float, metavar="0..1", default=0.0, nargs="+" if several else None,
        help="of a model with a GAN end, how far towards it: 0 is the most faithful, 1 looks the most like "
        "MRI, with texture that may be invented (default: 0)"
        + ("; several, such as 0 0.5 1, are compared" if several else ""),
    )  # fmt: skip


def places_on_the_dial(options: argparse.Namespace) -> float | list[float]:
    """What `add_perception` has read: one place as a number, several as a list."""
    places: float | list[float] = options.perception
    return places[0] if isinstance(places, list) and len(places) == 1 else places


def check_models(*models: PathLike) -> None:
    """Likewise for models: paths, or names of those that come with the package."""
    from keras_mrisr.pretrained import find_model

    for model in models:
        find_model(model)


def read_training_data(config: typing.Any, masks: bool = False) -> "tuple[SliceDataset, tuple[Failure, ...]]":
    """The dataset that a config names under data, and what of it cannot be read.

    Args:
        config: The config.
        masks: Whether the masks are needed, too.

    Raises:
        ConfigError: It names none.
    """
    from keras_mrisr.data import read_dataset
    from keras_mrisr.data.usable import usable
    from keras_mrisr.terminal import progress_bar

    if not config.data.root:
        raise ConfigError("No data: give --data ROOT, or data.root in the config.")
    data = config.data
    dataset = read_dataset(data.root, data.kind, data.patient_pattern, data.choice)
    try:
        with progress_bar("Reading the data") as progress:
            return usable(dataset, masks, getattr(data, "separate_channels", False), progress)
    except DataError:  # Nothing can: the training says so, after what is wrong with its options.
        return dataset, ()


def stopped() -> int:
    from keras_mrisr.terminal import say

    say("Stopped; everything is kept. The same command resumes from here.")
    return 130
