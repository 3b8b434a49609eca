"""Arguments that several commands take, and how commands end."""

import argparse
import os
import sys

from keras_mrisr.errors import ConfigError
from keras_mrisr.pretrained import find_model


class Parser(argparse.ArgumentParser):
    """One line for a usage error, as for any other bad input."""

    def error(self, message):
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(2)


def add_data_kind(parser):
    parser.add_argument("--kind", default="auto", help="auto, lgg, images or volumes (default: auto)")
    parser.add_argument(
        "--patient-pattern",
        metavar="REGEX",
        help="finds the patient in a file's relative path (default: its folder)",
    )


def add_degradation(parser):
    parser.add_argument(
        "--degradation",
        metavar="NAME[:KEY=VALUE,...]",
        help="degrade by this instead of what the models undo, e.g. paper or kspace:window=hamming",
    )


def parse_degradation(text):
    """Turns "kspace:window=hamming" into {"name": "kspace", "window": "hamming"}; None stays None."""
    from keras_mrisr.config import parse_override

    if text is None:
        return None
    name, _, options = text.partition(":")
    options = dict(parse_override(option) for option in options.split(",")) if options else {}
    for key in ("name", "scale"):
        if key in options:
            raise ConfigError(f"--degradation {text}: {key!r} is no option of a degradation.")
    return {"name": name, **options}


def check_exists(*paths):
    """Answers a wrong path at once, before TensorFlow is loaded."""
    for path in paths:
        if not os.path.exists(path):
            raise ConfigError(f"{path} does not exist. Check the path.")


def check_models(*models):
    """Likewise for models: paths, or names of those that come with the package."""
    for model in models:
        find_model(model)


def read_training_data(config):
    """The dataset that a config names under data.

    Raises:
        ConfigError: It names none, or it cannot be read.
    """
    from keras_mrisr.data import read_dataset

    if not config.data.root:
        raise ConfigError("No data: give --data ROOT, or data.root in the config.")
    return read_dataset(config.data.root, config.data.kind, config.data.patient_pattern)


def stopped():
    from keras_mrisr.terminal import say

    say("Stopped; everything is kept. The same command goes on from here.")
    return 130
