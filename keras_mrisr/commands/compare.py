"""`mrisr compare`."""

import argparse
import pathlib
from collections.abc import Mapping

from keras_mrisr.commands.arguments import (
    Commands,
    Parser,
    add_degradation,
    add_perception,
    check_exists,
    check_models,
    parse_degradation,
    places_on_the_dial,
)
from keras_mrisr.errors import ConfigError


def add(commands: Commands, common: Parser) -> None:
    compare = commands.add_parser(
        "compare", parents=[common],
        help="a figure of one slice, upscaled by several models, or of a volume before and after",
    )  # fmt: skip
    compare.add_argument(
        "image", metavar="IN",
        help="HR slice, which is degraded as the models expect; or a NIfTI file or DICOM folder, of which a "
        "picture of before and after is made",
    )  # fmt: skip
    compare.add_argument(
        "--model", metavar="[NAME=]RUN", action="append", default=[],
        help="trained model, or a name from mrisr models; several for a slice (default for a volume: the one "
        "that fits)",
    )  # fmt: skip
    compare.add_argument(
        "--out", metavar="PNG", help="figure to write: PNG, PDF, SVG, TIFF (default: IN-compare.png, here)"
    )
    compare.add_argument("--ensemble", action="store_true", help="average over flips and quarter turns")
    add_perception(compare, several=True)
    compare.add_argument("--overwrite", action="store_true", help="replace an existing figure")
    slices = compare.add_argument_group("of a slice")
    slices.add_argument("--lr", action="store_true", help="IN is low-resolution itself: no original")
    add_degradation(slices)
    slices.add_argument("--methods", help="interpolators (default: bicubic)")
    slices.add_argument(
        "--region", metavar="X,Y,W,H", help="part to magnify (default: the most detail inside the tissue)"
    )
    slices.add_argument("--channel", type=int, help="show one channel as grey, counted from 0")
    slices.add_argument("--dpi", type=int, help="dots per inch (default: 300)")
    volumes = compare.add_argument_group("of a volume")
    volumes.add_argument(
        "--plane", choices=("axial", "coronal", "sagittal"),
        help="in which the slices lie, and what is shown (default: across the largest spacing; all planes)",
    )  # fmt: skip
    volumes.add_argument("--volume-index", metavar="N", type=int, help="which volume of a 4-D file, from 0")
    volumes.add_argument("--series", help="which series of a DICOM folder: number, description or UID")
    volumes.add_argument(
        "--nan", choices=("refuse", "zero"),
        help="what becomes of NaN and infinite values: an error, or zero (default: refuse)",
    )  # fmt: skip
    compare.set_defaults(run=_compare)


_OF_SLICES = ("lr", "degradation", "methods", "region", "channel", "dpi")
_OF_VOLUMES = ("plane", "volume_index", "series", "nan")


def _compare(options: argparse.Namespace) -> None:
    from keras_mrisr.commands.naming import named_paths
    from keras_mrisr.volumes.formats import format_at

    models = named_paths(options.model)
    check_exists(options.image)
    check_models(*models.values())
    is_volume = format_at(options.image) is not None
    for name in _OF_SLICES if is_volume else _OF_VOLUMES:
        if getattr(options, name) not in (None, False):
            kinds = ("slices", "a volume") if is_volume else ("volumes", "no volume")
            raise ConfigError(f"`{name}` is for {kinds[0]}, and {options.image} is {kinds[1]}.")
    path = pathlib.Path(options.image)
    out = options.out or f"{path.name.partition('.')[0] or path.resolve().name}-compare.png"
    (_compare_volume if is_volume else _compare_slice)(options, models, out)


def _compare_slice(options: argparse.Namespace, models: Mapping[str, str], out: str) -> None:
    from keras_mrisr.terminal import load_tensorflow, say

    region = _region(options.region)
    degradation = parse_degradation(options.degradation)
    load_tensorflow()
    from keras_mrisr.evaluation import compare_image

    methods = "bicubic" if options.methods is None else options.methods
    numbers = compare_image(
        options.image,
        models,
        out,
        true_lr=options.lr,
        degradation=degradation,
        methods=[name for name in methods.split(",") if name],
        region=region,
        channel=options.channel,
        ensemble=options.ensemble,
        perception=places_on_the_dial(options),
        dpi=300 if options.dpi is None else options.dpi,
        overwrite=options.overwrite,
    )
    for name, (psnr, ssim) in numbers.items():
        say(f"{name}: PSNR {psnr:.2f} dB, SSIM {ssim:.4f}")
    say(f"Wrote {out}")


def _compare_volume(options: argparse.Namespace, models: Mapping[str, str], out: str) -> None:
    from keras_mrisr.pretrained import choose_model
    from keras_mrisr.terminal import load_tensorflow, progress_bar, say

    if len(models) > 1:
        raise ConfigError(f"A volume is shown before and after one `model`. Received: {', '.join(models)}")
    perception = places_on_the_dial(options)
    if isinstance(perception, list):
        raise ConfigError("A volume is shown before and after one `perception`. Give one number.")
    name, model = next(iter(models.items()), (None, None))
    if model is None:
        chosen, reason = choose_model(2, 1, volume=True)
        name, model = chosen.name, str(chosen.folder)
        say(f"Model: {reason}")
    load_tensorflow()
    from keras_mrisr.evaluation import compare_volume

    with progress_bar("Upscaling") as progress:
        compare_volume(
            options.image,
            model,
            out,
            name=name,
            plane=options.plane,
            volume_index=options.volume_index,
            series=options.series,
            ensemble=options.ensemble,
            perception=perception,
            nan=options.nan or "refuse",
            overwrite=options.overwrite,
            progress=progress,
        )
    say(f"Wrote {out}")


def _region(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--region must be four whole numbers X,Y,W,H, such as 40,60,50,50. Received: {text!r}"
        ) from None
    return x, y, width, height
