"""`mrisr bids`: a BIDS App."""

import argparse
import pathlib

from keras_mrisr.commands import model_options
from keras_mrisr.commands.arguments import Commands, Parser
from keras_mrisr.errors import IncompleteError


def add(commands: Commands, common: Parser) -> None:
    bids = commands.add_parser(
        "bids",
        parents=[common],
        help="upscale the anatomical scans of a BIDS data set into a derivative one",
        epilog="Called again it makes what is missing. Example: mrisr bids ds ds/derivatives/keras-mrisr "
        "participant --participant-label 01 02",
    )
    bids.add_argument("input", metavar="BIDS_DIR", help="root of the raw data set")
    bids.add_argument("output", metavar="OUTPUT_DIR", help="derivative data set to write")
    bids.add_argument("level", metavar="participant", choices=("participant",), help="level of the analysis")
    chosen = bids.add_argument_group("which scans")
    for name, what in (("participant", "participants"), ("session", "sessions")):
        chosen.add_argument(
            f"--{name}-label", metavar="LABEL", nargs="+", action="extend", default=[],
            help=f"only these {what} (default: all)",
        )  # fmt: skip
    chosen.add_argument(
        "--suffix", metavar="SUFFIX", nargs="+", action="extend", default=[],
        help="what is an anatomical scan (default: T1w, T2w, FLAIR, PDw, T2starw, UNIT1, inplaneT1 and "
        "inplaneT2)",
    )  # fmt: skip
    chosen.add_argument(
        "--bids-filter-file", metavar="FILE", help="JSON of entities that scans must have, as for fMRIPrep"
    )
    chosen.add_argument(
        "--skip-bids-validation", action="store_true",
        help="accepted for callers of BIDS Apps: what is read is checked as it is read, and nothing else",
    )  # fmt: skip
    bids.add_argument("--ensemble", action="store_true", help="average over flips and quarter turns")
    bids.add_argument("--consistency", action="store_true", help="change nothing that was measured")
    bids.add_argument("--nan", choices=("refuse", "zero"), default="refuse", help="as for mrisr upscale")
    bids.add_argument(
        "--overwrite",
        action="store_true",
        help="make again what is there; needed for another model or version",
    )
    model_options.add_model_options(bids)
    model_options.add_way_options(bids)
    model_options.add_worker_options(bids)
    bids.set_defaults(run=_bids)


def _bids(options: argparse.Namespace) -> None:
    from keras_mrisr.bids import SUFFIXES, find_scans, upscale_bids
    from keras_mrisr.bids.app import check_made, check_out
    from keras_mrisr.inference.options import UpscaleOptions
    from keras_mrisr.terminal import progress_bar, say

    way = model_options.way_options(options)
    how = UpscaleOptions(
        ensemble=options.ensemble,
        consistency=options.consistency,
        overwrite=options.overwrite,
        nan=options.nan,
        **way,
    )
    scans = find_scans(
        options.input,
        options.participant_label,
        options.session_label,
        options.suffix or SUFFIXES,
        options.bids_filter_file,
    )
    check_out(options.input, options.output)
    chosen = model_options.result_options(options)
    check_made(pathlib.Path(options.output), scans, how, chosen)
    participants = len({scan.participant for scan in scans})
    say(f"{len(scans)} anatomical scans of {participants} participants")
    with model_options.workers_for(options) as workers, progress_bar("Upscaling") as progress:
        outcome = upscale_bids(options.input, options.output, scans, workers, how, progress, how=chosen)
    say(f"Wrote {len(outcome.written)} scans to {options.output}; summary: {outcome.page}")
    if outcome.failures:
        place, reason = next(iter(outcome.failures.items()))
        raise IncompleteError(
            f"{len(outcome.failures)} of {len(scans)} scans could not be upscaled; all others are done. "
            f"{place}: {reason}"
        )
