"""`mrisr data`: inspect and download."""

import argparse
import sys

from keras_mrisr.commands.arguments import Commands, Parser, add_choice, add_data_kind, choice_of
from keras_mrisr.errors import ConfigError


def add(commands: Commands, common: Parser) -> None:
    data = commands.add_parser("data", help="look at data, download a public set")
    actions = data.add_subparsers(title="commands", metavar="COMMAND")
    inspect = actions.add_parser("inspect", parents=[common], help="what is in a folder, and what is odd")
    inspect.add_argument("root", metavar="ROOT", help="folder of the data")
    add_data_kind(inspect)
    add_choice(inspect, "ROOT")
    inspect.add_argument("--sheet", metavar="PNG", help="also write a contact sheet")
    inspect.add_argument("--overwrite", action="store_true", help="replace an existing contact sheet")
    inspect.add_argument("--all", action="store_true", help="list every finding")
    inspect.set_defaults(run=_inspect)
    download = actions.add_parser("download", parents=[common], help="fetch a public data set")
    download.add_argument("name", help="lgg: Buda et al., lower-grade glioma, from Kaggle")
    download.add_argument("dest", help="folder to write")
    download.add_argument("--overwrite", action="store_true", help="replace an existing folder")
    download.set_defaults(run=_download)


def _inspect(options: argparse.Namespace) -> None:
    from keras_mrisr.data import read_dataset
    from keras_mrisr.data.contact_sheet import contact_sheet
    from keras_mrisr.data.images import check_image_name
    from keras_mrisr.data.inspect import inspect_dataset
    from keras_mrisr.files import check_new_file, check_not_source
    from keras_mrisr.folders import refuse_incomplete
    from keras_mrisr.terminal import print_rows, progress_bar, say

    if options.sheet:
        check_image_name(options.sheet)
        check_new_file(options.sheet, options.overwrite)
    dataset = read_dataset(options.root, options.kind, options.patient_pattern, choice_of(options))
    if options.sheet:
        files = [path for record in dataset.slices for path in (record.path, record.mask) if path]
        check_not_source(options.sheet, *files)
    with progress_bar("Reading slices") as progress:
        report = inspect_dataset(dataset, progress=progress)
    print_rows(*report.to_table(), title=f"{dataset.root} ({dataset.kind})")
    say(f"Patients: {len(dataset.patients)}, by {dataset.patients_by}")
    for line in report.finding_lines(**({"per_kind": sys.maxsize} if options.all else {})):
        say(line)
    if options.sheet:
        contact_sheet(dataset, options.sheet)
        say(f"Wrote {options.sheet}")
    refuse_incomplete(report.failures, "read")


def _download(options: argparse.Namespace) -> None:
    from keras_mrisr.data.download import download_lgg
    from keras_mrisr.terminal import say

    if options.name != "lgg":
        raise ConfigError(f"Unknown data set {options.name!r}. Known: lgg.")
    dataset = download_lgg(options.dest, overwrite=options.overwrite)
    say(f"{dataset.extent} in {dataset.root}")
