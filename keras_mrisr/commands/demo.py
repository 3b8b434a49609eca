"""`mrisr demo`."""

import argparse
import math
import shlex

from keras_mrisr.commands.arguments import Commands, Parser, stopped


def add(commands: Commands, common: Parser) -> None:
    demo = commands.add_parser(
        "demo",
        parents=[common],
        help="upscale slices of an average brain by a bundled model, then train a small one",
    )
    demo.add_argument("--out", default="demo", help="folder to write (default: demo)")
    demo.add_argument(
        "--epochs",
        type=int,
        default=5,
        help="length of the training, 10 to 35 s each on 2 cores (default: 5)",
    )
    demo.add_argument("--overwrite", action="store_true", help="replace an earlier demo")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from keras_mrisr.terminal import load_tensorflow, say, show, training_progress

    load_tensorflow()
    from keras_mrisr.demo import NEXT_STEPS, SECONDS_AN_EPOCH, STEPS, run_demo
    from keras_mrisr.evaluation.tables import summary_table
    from keras_mrisr.training import TrainingInterruptedError

    minutes = math.ceil(1.6 + options.epochs * SECONDS_AN_EPOCH / 60)
    say(
        f"This takes up to {minutes} min on two processor cores: first scores of a bundled model, then "
        f"the training of a small one in {options.epochs} epochs. Ctrl-C stops it, the same words resume it."
    )
    try:
        with training_progress(options.epochs, STEPS) as report:

            def show_first(evaluation):
                show(summary_table(evaluation.summary, unit="slabs", images="slices"))
                say("That was a bundled model. Now one of your own is trained:")

            evaluation = run_demo(
                options.out,
                options.epochs,
                overwrite=options.overwrite,
                report=report,
                progress=report.stage,
                show=show_first,
            )
    except TrainingInterruptedError:
        return stopped()
    show(evaluation.report(unit="slabs"))
    say(NEXT_STEPS.format(out=shlex.quote(options.out)))
    return 0
