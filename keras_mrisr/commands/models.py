"""`mrisr models`."""

import argparse
import pathlib
import typing

from keras_mrisr.commands.arguments import Commands, Parser, check_exists, check_models
from keras_mrisr.errors import ConfigError

_MANY = 4  # Degradations with a line each.
_FEWEST = 60  # Slices, three of each kind.


def add(commands: Commands, common: Parser) -> None:
    models = commands.add_parser("models", parents=[common], help="the bundled models, and packing your own")
    models.set_defaults(run=_list)
    actions = models.add_subparsers(title="actions", metavar="ACTION")
    listing = actions.add_parser("list", parents=[common], help="size, scale, degradation and scores of each")
    listing.set_defaults(run=_list)
    show = actions.add_parser("show", parents=[common], help="the card of one")
    show.add_argument("name", metavar="NAME", help="name from mrisr models, or a model directory")
    show.set_defaults(run=_show)
    pack = actions.add_parser(
        "pack", parents=[common], help="make a run half as large, with scores and a card, to hand it on"
    )
    pack.add_argument(
        "model", metavar="RUN", help="folder that mrisr train wrote, or a name from mrisr models"
    )
    pack.add_argument("output", metavar="OUT", help="folder to write; its name is the model's")
    pack.add_argument(
        "--evaluation", metavar="FOLDER", action="append", default=[],
        help="what mrisr evaluate wrote for this model alone; several for several degradations",
    )  # fmt: skip
    pack.add_argument("--licence", required=True, help="terms of the weights, one line")
    pack.add_argument(
        "--lr-spacing", nargs=2, type=float, metavar=("LEAST", "MOST"),
        help="in-plane spacing in mm of LR that it is made for",
    )  # fmt: skip
    pack.add_argument(
        "--lr-size", nargs=2, type=float, metavar=("LEAST", "MOST"),
        help="edges of LR in pixels that it is made for",
    )  # fmt: skip
    pack.add_argument("--notes", metavar="FILE", help="Markdown for the card, such as known failures")
    pack.add_argument(
        "--picture-of", metavar="IMAGE",
        help="HR slice that may be shown, for a picture of what the model does and what it fails at",
    )  # fmt: skip
    pack.add_argument(
        "--gan", metavar="RUN",
        help="adversarial run that started from this model: its GAN end, for --perception",
    )  # fmt: skip
    pack.add_argument("--overwrite", action="store_true", help="replace an earlier OUT")
    pack.set_defaults(run=_pack)
    estimate = actions.add_parser(
        "estimate", parents=[common],
        help="teach a model of random-acquisition to tell how an image was degraded",
    )  # fmt: skip
    estimate.add_argument("model", metavar="FOLDER", help="model directory; its model.json is written anew")
    estimate.add_argument("--data", required=True, metavar="ROOT", help="data set that it was trained on")
    estimate.add_argument("--slices", type=int, default=700, help="how many are degraded (default: 700)")
    estimate.set_defaults(run=_estimate)


def _list(options: argparse.Namespace) -> None:
    from keras_mrisr.pretrained import pretrained_models
    from keras_mrisr.terminal import say

    models = pretrained_models()
    for one in models:
        say(f"{one.name}  {one.size / 1e6:.1f} MB  {one.purpose}")
        for gain in _gains(one):
            say(f"    {gain}")
    for licence in dict.fromkeys(one.licence for one in models if one.licence):
        names = ", ".join(one.name for one in models if one.licence == licence)
        say(f"Licence of the weights of {names}: {licence}")
    say(
        "mrisr models show NAME prints the card. --model takes a name wherever it asks for a model for "
        "super-resolution; mrisr segment needs a U-Net, of which none is bundled."
    )


def _gains(model: typing.Any) -> typing.Iterator[str]:
    """A line for each degradation that was scored, of all channels together; of many ways one for all."""
    from keras_mrisr.pretrained import held_out_text

    if len({row["degradation"] for row in model.scores}) > _MANY:
        yield _range_of_gains(model)
        return
    rows = {(row["degradation"], row["method"]): row for row in model.scores if row["channel"] != "FLAIR"}
    for (degradation, method), row in rows.items():
        if method == "SR":
            patients = held_out_text(row["patients"], model.info)
            bicubic = rows.get((degradation, "bicubic"))
            over = f", {row['psnr'] - bicubic['psnr']:+.2f} dB over bicubic" if bicubic else ""
            yield f"{degradation}: PSNR {row['psnr']:.2f} dB, SSIM {row['ssim']:.4f}{over} on {patients}"


def _range_of_gains(model: typing.Any) -> str:
    """The least and the largest gain of a model that was scored on many degradations."""
    from keras_mrisr.pretrained import held_out_text

    scores: dict[str, dict[str, float]] = {}
    for row in model.scores:
        scores.setdefault(row["degradation"], {})[row["method"]] = row["psnr"]
    gains = {
        degradation: row["SR"] - max(value for method, value in row.items() if method != "SR")
        for degradation, row in scores.items()
    }
    least, most = min(gains, key=gains.__getitem__), max(gains, key=gains.__getitem__)
    return (
        f"{len(gains)} degradations: {gains[least]:+.2f} dB ({least}) to {gains[most]:+.2f} dB ({most}) over "
        f"the best interpolation on {held_out_text(model.scores[0]['patients'], model.info)}"
    )


def _show(options: argparse.Namespace) -> None:
    from keras_mrisr.pretrained import find_model

    folder = find_model(options.name)
    card = folder / "card.md"
    if not card.is_file():
        raise ConfigError(
            f"{folder} holds no card.md. Give a folder that mrisr train or mrisr models pack wrote."
        )
    print(card.read_text(encoding="utf-8"))
    print(f"FOLDER: {folder}")


def _pack(options: argparse.Namespace) -> None:
    check_models(options.model)
    check_exists(*options.evaluation, *filter(None, (options.notes, options.picture_of)))
    notes = _read_notes(options.notes)
    from keras_mrisr.terminal import load_tensorflow, say

    load_tensorflow()
    from keras_mrisr.packing import pack_model

    difference = pack_model(
        options.model,
        options.output,
        options.evaluation,
        licence=options.licence,
        lr_spacing=options.lr_spacing,
        lr_size=options.lr_size,
        notes=notes,
        picture_of=options.picture_of,
        gan=options.gan,
        overwrite=options.overwrite,
    )
    say(f"Wrote {options.output}; float16 changes the result by {difference:.1g} at most (white is 1)")


def _read_notes(path: str | None) -> list[str]:
    try:
        return [pathlib.Path(path).read_text(encoding="utf-8")] if path else []
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8. Give a Markdown file.") from error


def _estimate(options: argparse.Namespace) -> None:
    check_models(options.model)
    if options.slices < _FEWEST:
        raise ConfigError(f"--slices must be {_FEWEST} or more. Received: {options.slices}")
    from keras_mrisr.terminal import load_tensorflow, progress_bar, say

    load_tensorflow()
    from keras_mrisr.packing.estimate import add_estimate

    with progress_bar("Degrading slices") as progress:
        add_estimate(options.model, options.data, options.slices, progress)
    say(f"Wrote {options.model}/model.json: its results are now made consistent with what was told.")
