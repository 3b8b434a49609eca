"""Options of the commands that train, made from their configs, where types, defaults and meanings stand."""

import argparse
import inspect
import itertools
import re
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import yaml

from keras_mrisr.commands.arguments import Parser
from keras_mrisr.config import RunConfig, parse_override, read_config
from keras_mrisr.config_base import Config, sections, type_name

Kind = typing.TypeVar("Kind", bound=Config)
Base = Callable[[argparse.Namespace], Config]

_METAVARS = {
    "root": "ROOT",
    "patient_pattern": "REGEX",
    "init": "RUN",
    "weights": "FILE",
    "trainable": "BLOCKS",
    "scale": "N",
    "labels": "LABELS",
    "include": "PATTERN",
    "exclude": "PATTERN",
}
_SEVERAL = ("include", "exclude")  # Options that may be given several times.
_GIVEN = (
    "name",
    "scale",
    "channels",
    "neighbours",
    "patch_size",
)  # Options of builders that follow from others.


def scale(text: str) -> int | tuple[int, ...]:
    """The scale as RunConfig takes it: "2" -> 2, "1,1,2" -> (1, 1, 2)."""
    factors = tuple(int(part) for part in text.split(","))
    return factors if len(factors) > 1 else factors[0]


def _words(text: str) -> list[str]:
    return text.split(",")


def add_config_options(parser: Parser, base: Base, keys: Sequence[str]) -> None:
    """Adds options for keys of a config, `--config`, `--set` for all others, and `--keys` that lists them.

    Args:
        parser: Of the command. The destination of an option is its key.
        base: The config that the options are put over, made of the other options of the command; of those
            alone it gives the defaults that the help shows.
        keys: Those that have an option, such as "data.root".
    """
    add_key_options(parser, base(argparse.Namespace()), keys)
    rest = parser.add_argument_group("config")
    rest.add_argument("--config", metavar="YAML", help="config file; options of the command come before it")
    rest.add_argument(
        "--set",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="any other keys of the config, such as data.split_seed=1",
    )
    rest.add_argument("--keys", action=_ShowKeys, base=base, help="list the keys of --set and leave")


def add_key_options(parser: Parser, config: Config, keys: Sequence[str]) -> None:
    """Adds options for some keys of a config, a group a section; values in `config` are the defaults."""
    inner = sections(type(config))
    for title, members in itertools.groupby(
        keys, lambda key: key.split(".")[0] in inner and key.split(".")[0]
    ):
        group = parser.add_argument_group(title or "network")
        for key in members:
            _add_option(group, config, key)
    parser.config_keys.extend(keys)


def read_config_options(options: argparse.Namespace, base: Kind) -> Kind:
    """The config of a command: `base`, under the file of --config, the options, and --set."""
    if options.config:
        base = read_config(options.config, base)
    return base.replace({**given_keys(options), **dict(map(parse_override, options.set))})


def given_keys(options: argparse.Namespace) -> dict[str, Any]:
    """{key of the config: value} of the options that the user gave."""
    values = {key: getattr(options, key) for key in options.parser.config_keys}
    return {key: value for key, value in values.items() if value is not None}


def _add_option(group: argparse._ArgumentGroup, config: Config, key: str) -> None:
    kind, default, meaning = _field(config, key)
    name = "data" if key == "data.root" else key.removesuffix(".name").rpartition(".")[2]
    if name == "scale":
        convert: Callable[[str], Any] = scale
    else:
        convert = {int: int, float: float}.get(kind, _words if type_name(kind) == "list" else str)
    if default not in (None, "", []):
        meaning += f" (default: {','.join(default) if isinstance(default, list) else default})"
    patterns = name in _SEVERAL
    group.add_argument(
        f"--{name.replace('_', '-')}",
        dest=key,
        type=str if patterns else convert,
        action="append" if patterns else "store",
        metavar=_METAVARS.get(key.rpartition(".")[2]) or {int: "N", float: "X"}.get(kind, "NAME"),
        help=meaning.replace("%", "%%"),
    )


def _field(config: Config, key: str) -> tuple[Any, Any, str]:
    """Type, value and meaning of a key; of a builder's name the meaning of its section."""
    section, _, name = key.rpartition(".")
    if section in sections(type(config)):
        config = getattr(config, section)
    elif section:
        return str, getattr(config, section)[name], meanings(type(config))[section]
    return type(config).model_fields[name].annotation, getattr(config, name), meanings(type(config))[name]


def meanings(described: object) -> dict[str, str]:
    """What a docstring says of each attribute or argument, in one line without quotes for code."""
    described = getattr(described, "func", described)  # Of a functools.partial its function.
    # A class says what its own attributes mean, and its bases the others.
    parts = described.__mro__[::-1] if isinstance(described, type) else (described,)
    text = "\n\n".join(inspect.getdoc(part) or "" for part in parts)
    entries = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", text, re.MULTILINE)
    return {name: re.sub(r"[`\"]", "", " ".join(text.split())).removesuffix(".") for name, text in entries}


def all_keys(config: Config) -> Iterator[tuple[str, Any, str]]:
    """(key, value, meaning) of each key that --set takes, options of builders included."""
    builders = _builders(config)
    for key, value, meaning in _own_keys(config):
        if key not in builders:
            yield key, value, meaning
            continue
        if "name" in value:
            yield f"{key}.name", value["name"], meaning
        parameters = inspect.signature(builders[key]).parameters
        texts = meanings(builders[key])
        for name, parameter in parameters.items():
            if parameter.default is not parameter.empty and name not in _GIVEN:
                yield f"{key}.{name}", value.get(name, parameter.default), texts.get(name, "")


def _own_keys(config: Config) -> Iterator[tuple[str, Any, str]]:
    inner, texts = sections(type(config)), meanings(type(config))
    for name in type(config).model_fields:
        value = getattr(config, name)
        if name in inner:
            yield from ((f"{name}.{key}", value, text) for key, value, text in _own_keys(value))
        else:
            yield name, value, texts.get(name, "")


def _builders(config: Config) -> dict[str, Any]:
    """{section: the function or class that takes its options}."""
    if not isinstance(config, RunConfig):
        return {}
    from keras_mrisr.terminal import load_tensorflow

    load_tensorflow()
    from keras_mrisr.tuning.study import builders

    return builders(config)


class _ShowKeys(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, base: Base, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)
        self.base = base

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: Any) -> None:
        from keras_mrisr.terminal import say

        for key, value, meaning in all_keys(self.base(namespace)):
            text = yaml.safe_dump(value, default_flow_style=True, width=1000)
            say(f"{key}={text.strip().removesuffix('...').strip()}")
            if meaning:
                say(f"    {meaning}")
        parser.exit()
