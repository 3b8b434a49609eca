"""`mrisr demo`."""

import argparse
import shlex

from keras_mrisr.commands.arguments import Commands, Parser, stopped


def add(commands: Commands, common: Parser) -> None:
    demo = commands.add_parser(
        "demo",
        parents=[common],
        help="upscale slices of a real brain by a model that comes along, then train a small one",
    )
    demo.add_argument("--out", default="demo", help="folder to write (default: demo)")
    demo.add_argument(
        "--epochs",
        type=int,
        default=20,
        help="length of the training, under 10 s each on 2 cores (default: 20)",
    )
    demo.add_argument("--overwrite", action="store_true", help="replace an earlier demo")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from keras_mrisr.terminal import load_tensorflow, say, show, training_progress

    load_tensorflow()
    from keras_mrisr.demo import NEXT_STEPS, STEPS, run_demo
    from keras_mrisr.evaluation.tables import summary_table
    from keras_mrisr.training import Interrupted

    try:
        with training_progress(options.epochs, STEPS) as report:

            def show_first(evaluation):
                show(summary_table(evaluation.summary))
                say("That was a model that comes along. Now one of your own is trained:")

            evaluation = run_demo(
                options.out,
                options.epochs,
                overwrite=options.overwrite,
                report=report,
                progress=report.stage,
                show=show_first,
            )
    except Interrupted:
        return stopped()
    show(evaluation.report())
    say(NEXT_STEPS.format(out=shlex.quote(options.out)))
    return 0
