"""`mrisr tune` and `mrisr tune results`."""

import argparse
import shlex
import typing

from keras_mrisr.commands.arguments import (
    DATA_KEYS,
    Commands,
    Parser,
    check_exists,
    read_training_data,
    stopped,
)
from keras_mrisr.errors import ConfigError

_SECONDS = 120.0  # Of --lease and --wait.


def add(commands: Commands, common: Parser) -> None:
    tune = commands.add_parser(
        "tune",
        parents=[common],
        help="search hyperparameters; started again with the same words, a stopped search is resumed",
        description="Search hyperparameters. Started again with the same words, a stopped search is resumed.",
        example="mrisr tune --data slices --study srresnet --out study --max-trials 10",
        options=lambda parser: _add_options(parser, common),
    )
    tune.set_defaults(run=_tune)


def _add_options(tune: Parser, common: Parser) -> None:
    from keras_mrisr.commands.config_options import add_key_options
    from keras_mrisr.config import RunConfig

    add_key_options(tune, RunConfig(), DATA_KEYS)
    search = tune.add_argument_group("search")
    search.add_argument("--study", help="srresnet, srgan, or a YAML file with a space of your own")
    search.add_argument("--out", metavar="DIR", help="folder of the search (default: studies/NAME)")
    search.add_argument("--overwrite", action="store_true", help="delete an earlier search in --out")
    search.add_argument("--tuner", default="hyperband", help="random, bayesian or hyperband (the default)")
    search.add_argument(
        "--max-trials", type=int, metavar="N", help="trials in all (default: 10, or one sweep of Hyperband)"
    )
    search.add_argument("--objective", help="psnr, perceptual or weighted (default: the study's)")
    lists: dict[str, typing.Any] = {"nargs": "+", "action": "extend", "default": []}
    search.add_argument(
        "--budget",
        metavar="LIMIT=N",
        help="parameters=200k or gflops=5 of a generator, hours=8 of the search",
        **lists,
    )
    search.add_argument(
        "--fix",
        metavar="KEY=VALUE",
        help="fix keys of the space, or set any other config keys, e.g. training.epochs=9 data.split_seed=1",
        **lists,
    )
    search.add_argument("--init", metavar="RUN", help="every trial starts from the weights of this model")
    search.add_argument("--seed", type=int, default=0, help="seed of the choice of trials (default: 0)")
    machines = tune.add_argument_group("several machines")
    machines.add_argument("--chief", metavar="HOST:PORT", help="choose trials for workers that connect here")
    machines.add_argument(
        "--worker", metavar="HOST:PORT", help="train the trials of the chief at this address"
    )
    machines.add_argument("--name", help="name of a worker (default: made of host and process)")
    machines.add_argument(
        "--lease",
        type=float,
        metavar="S",
        help="a worker silent for so long is taken for dead (default: 120)",
    )
    machines.add_argument(
        "--wait",
        type=float,
        metavar="S",
        help="how long a worker waits for the chief (default: 120)",
    )
    actions = tune.add_subparsers(title="commands", metavar="COMMAND")
    results = actions.add_parser("results", parents=[common], help="rank the trials of a search, with plots")
    results.add_argument("folder", metavar="DIR", help="folder of the search")
    results.add_argument("--best", metavar="YAML", help="write the config of the best trial for mrisr train")
    results.add_argument("--out", metavar="DIR", help="folder for table and plots (default: DIR/results)")
    results.add_argument("--top", type=int, default=3, help="trials whose values are shown (default: 3)")
    results.add_argument("--overwrite", action="store_true", help="replace the files of --best and --out")
    results.set_defaults(run=_results)


def tuned_study(options: argparse.Namespace) -> typing.Any:
    """The `Study` of the options, but for what `--init` makes of it."""
    from keras_mrisr.commands.config_options import given_keys
    from keras_mrisr.config import parse_override
    from keras_mrisr.tuning import read_study

    if not options.study:
        raise ConfigError("No study: give --study srresnet, --study srgan or a YAML file.")
    fixes = {**dict(map(parse_override, options.fix)), **given_keys(options)}
    return read_study(options.study, fixes, options.objective)


def _tune(options: argparse.Namespace) -> int:
    import pathlib

    from keras_mrisr.folders import refuse_incomplete
    from keras_mrisr.terminal import load_tensorflow, progress_bar, say
    from keras_mrisr.tuning import Budget, find_place

    place = find_place(options.chief, options.worker, options.name)
    for name in ("lease", "wait", "name"):
        if getattr(options, name) is not None and place is None:
            raise ConfigError(f"--{name} is of a search on several machines: give --chief or --worker, too.")
    budget = Budget.parse(options.budget)
    study = tuned_study(options)
    # Read first: a wrong path is answered before TensorFlow is loaded.
    dataset, failures = read_training_data(study.config)
    load_tensorflow()
    from keras_mrisr.training import TrainingInterruptedError
    from keras_mrisr.tuning import search

    if options.init:
        study = study.starting_from(options.init)
    out = options.out or pathlib.Path("studies") / pathlib.Path(options.study).stem
    try:
        with progress_bar("Epochs") as progress:
            search(
                study,
                out,
                tuner=options.tuner,
                max_trials=options.max_trials,
                budget=budget,
                seed=options.seed,
                dataset=dataset,
                overwrite=options.overwrite,
                place=place,
                lease=_SECONDS if options.lease is None else options.lease,
                wait=_SECONDS if options.wait is None else options.wait,
                progress=progress,
            )
    except TrainingInterruptedError:
        return stopped()
    if place is None or place.role == "chief":
        words = shlex.join(["mrisr", "tune", "results", str(out), "--best", "best.yaml"])
        say(f"Trials in {out}. Next:\n  {words}")
    refuse_incomplete(failures, "read")
    return 0


def _results(options: argparse.Namespace) -> int:
    import pathlib

    from keras_mrisr.files import check_new_directory, check_only_holds
    from keras_mrisr.terminal import print_rows, say
    from keras_mrisr.tuning import read_results
    from keras_mrisr.tuning.plots import PLOTS, write_plots
    from keras_mrisr.tuning.results import TABLE
    from keras_mrisr.tuning.tables import front_rows, trial_rows, value_rows

    check_exists(options.folder)
    if options.best and pathlib.Path(options.best).exists() and not options.overwrite:
        raise ConfigError(f"{options.best} exists. Choose another name or pass --overwrite.")
    if options.out:
        check_new_directory(options.out, options.overwrite)
        check_only_holds(options.out, {TABLE, *PLOTS})
    results = read_results(options.folder)
    results.best()  # Without one there is nothing to show.
    out = pathlib.Path(options.out or pathlib.Path(options.folder) / "results")
    results.write_table(out / TABLE)
    plots = write_plots(results, out)
    print_rows(*trial_rows(results), title=f"Trials of {options.folder}, by score")
    print_rows(*value_rows(results, options.top), title="\nValues of the best")
    print_rows(*front_rows(results), title="\nNothing beats these in both score and cost")
    say(f"Table and plots in {out}: {', '.join(path.name for path in [out / TABLE, *plots])}")
    if options.best:
        best = results.write_best(options.best)
        say(
            f"Config of trial {best.name} in {options.best}. Next:\n"
            f"  {shlex.join(['mrisr', 'train', '--config', options.best, '--out', 'runs/best'])}"
        )
    return 0
