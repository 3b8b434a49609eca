"""`mrisr tune` and `mrisr tune results`."""

import shlex

from keras_mrisr.commands.arguments import add_data_kind, check_exists, stopped
from keras_mrisr.errors import ConfigError
from keras_mrisr.files import check_new_directory, check_only_holds


def add(commands, common):
    tune = commands.add_parser(
        "tune",
        parents=[common],
        help="search hyperparameters; started again with the same words, a stopped search goes on",
    )
    tune.add_argument("--data", metavar="ROOT", help="folder of the data")
    add_data_kind(tune)
    tune.add_argument("--study", help="srresnet, srgan, or a YAML file with a space of your own")
    tune.add_argument("--out", metavar="DIR", help="folder of the search (default: studies/NAME)")
    tune.add_argument("--tuner", default="hyperband", help="random, bayesian or hyperband (the default)")
    tune.add_argument(
        "--max-trials", type=int, metavar="N", help="trials in all (default: 10, or one sweep of Hyperband)"
    )
    tune.add_argument("--objective", help="psnr, perceptual or weighted (default: the study's)")
    tune.add_argument(
        "--budget",
        metavar="LIMIT=N",
        nargs="+",
        action="extend",
        default=[],
        help="parameters=200k or gflops=5 of a generator, hours=8 of the search",
    )
    tune.add_argument(
        "--fix",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="fix keys of the space, or set any other config keys, e.g. training.epochs=9 data.split_seed=1",
    )
    tune.add_argument("--init", metavar="RUN", help="every trial starts from the weights of this model")
    tune.add_argument("--seed", type=int, default=0, help="of the choice of trials (default: 0)")
    tune.add_argument("--chief", metavar="HOST:PORT", help="choose trials for workers that connect here")
    tune.add_argument("--worker", metavar="HOST:PORT", help="train the trials of the chief at this address")
    tune.add_argument("--name", help="of a worker (default: made of host and process)")
    tune.add_argument(
        "--lease", type=float, default=120.0, metavar="S",
        help="a worker silent for so long is taken for dead (default: 120)",
    )  # fmt: skip
    tune.add_argument(
        "--wait",
        type=float,
        default=120.0,
        metavar="S",
        help="how long a worker waits for the chief (120)",
    )
    tune.add_argument("--overwrite", action="store_true", help="delete an earlier search in --out")
    tune.set_defaults(run=_tune)
    actions = tune.add_subparsers(title="commands", metavar="COMMAND")
    results = actions.add_parser("results", parents=[common], help="rank the trials of a search, with plots")
    results.add_argument("folder", metavar="DIR", help="folder of the search")
    results.add_argument("--best", metavar="YAML", help="write the config of the best trial for mrisr train")
    results.add_argument("--out", metavar="DIR", help="folder for table and plots (default: DIR/results)")
    results.add_argument("--top", type=int, default=3, help="trials whose values are shown (default: 3)")
    results.add_argument("--overwrite", action="store_true", help="replace the files of --best and --out")
    results.set_defaults(run=_results)


def tuned_study(options):
    """The `Study` of the options, but for what `--init` makes of it."""
    from keras_mrisr.config import parse_override
    from keras_mrisr.tuning import read_study

    if not options.study:
        raise ConfigError("No study: give --study srresnet, --study srgan or a YAML file.")
    fixes = dict(parse_override(text) for text in options.fix)
    given = {"data.root": options.data, "data.patient_pattern": options.patient_pattern}
    fixes.update({key: value for key, value in given.items() if value is not None})
    if options.kind != "auto":
        fixes["data.kind"] = options.kind
    return read_study(options.study, fixes, options.objective)


def _tune(options):
    import pathlib

    from keras_mrisr.data import read_dataset
    from keras_mrisr.terminal import load_tensorflow, progress_bar, say
    from keras_mrisr.tuning import Budget, find_place

    place = find_place(options.chief, options.worker, options.name)
    budget = Budget.parse(options.budget)
    study = tuned_study(options)
    data = study.config.data
    if not data.root:
        raise ConfigError("No data: give --data ROOT, or data.root in the study's config.")
    # Read first: a wrong path is answered before TensorFlow is loaded.
    dataset = read_dataset(data.root, data.kind, data.patient_pattern)
    load_tensorflow()
    from keras_mrisr.training import Interrupted
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
                lease=options.lease,
                wait=options.wait,
                progress=progress,
            )
    except Interrupted:
        return stopped()
    if place is None or place.role == "chief":
        words = shlex.join(["mrisr", "tune", "results", str(out), "--best", "best.yaml"])
        say(f"Trials in {out}. Next:\n  {words}")
    return 0


def _results(options):
    import pathlib

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
