"""`mrisr compare`."""

import argparse

from keras_mrisr.commands.arguments import (
    Commands,
    Parser,
    add_degradation,
    check_exists,
    check_models,
    parse_degradation,
)
from keras_mrisr.errors import ConfigError


def add(commands: Commands, common: Parser) -> None:
    compare = commands.add_parser(
        "compare", parents=[common], help="a figure of one slice, upscaled by several models side by side"
    )
    compare.add_argument("image", metavar="IMAGE", help="HR slice; it is degraded as the models expect")
    compare.add_argument(
        "--model",
        metavar="[NAME=]RUN",
        action="append",
        required=True,
        help="trained model, or a name from mrisr models",
    )
    compare.add_argument("--out", metavar="PNG", required=True, help="figure to write: PNG, PDF, SVG or TIFF")
    compare.add_argument("--lr", action="store_true", help="IMAGE is low-resolution itself: no original")
    add_degradation(compare)
    compare.add_argument("--methods", default="bicubic", help="interpolators (default: bicubic)")
    compare.add_argument(
        "--region", metavar="X,Y,W,H", help="part to magnify (default: the most detail inside the tissue)"
    )
    compare.add_argument("--channel", type=int, help="show one channel as grey, counted from 0")
    compare.add_argument("--ensemble", action="store_true", help="average over flips and quarter turns")
    compare.add_argument("--dpi", type=int, default=300, help="dots per inch (default: 300)")
    compare.add_argument("--overwrite", action="store_true", help="replace an existing figure")
    compare.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> None:
    from keras_mrisr.commands.naming import named_paths
    from keras_mrisr.terminal import load_tensorflow, say

    models = named_paths(options.model)
    check_exists(options.image)
    check_models(*models.values())
    region = _region(options.region)
    degradation = parse_degradation(options.degradation)
    load_tensorflow()
    from keras_mrisr.evaluation import compare_image

    numbers = compare_image(
        options.image,
        models,
        options.out,
        true_lr=options.lr,
        degradation=degradation,
        methods=[name for name in options.methods.split(",") if name],
        region=region,
        channel=options.channel,
        ensemble=options.ensemble,
        dpi=options.dpi,
        overwrite=options.overwrite,
    )
    for name, (psnr, ssim) in numbers.items():
        say(f"{name}: PSNR {psnr:.2f} dB, SSIM {ssim:.4f}")
    say(f"Wrote {options.out}")


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
