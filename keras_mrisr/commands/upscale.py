"""`mrisr upscale`."""

from keras_mrisr.commands.common import check_exists
from keras_mrisr.errors import InputError


def add(commands, common):
    upscale = commands.add_parser("upscale", parents=[common], help="enlarge an image or a folder of images")
    upscale.add_argument("input", metavar="IN", help="image (PNG, TIFF, JPEG) or folder")
    upscale.add_argument("output", metavar="OUT", help="image or folder to write")
    upscale.add_argument("--model", metavar="RUN", required=True, help="trained model directory")
    upscale.add_argument("--scale", type=int, help="refuse a model of another scale")
    upscale.add_argument("--ensemble", action="store_true", help="average over flips and quarter turns")
    upscale.add_argument("--overwrite", action="store_true", help="replace what exists at OUT")
    upscale.set_defaults(run=_upscale)


def _upscale(options):
    from keras_mrisr.terminal import load_tensorflow, progress_bar, say

    check_exists(options.input, options.model)
    load_tensorflow()
    from keras_mrisr.inference import SuperResolver, upscale_path

    resolver = SuperResolver.load(options.model)
    if options.scale is not None and options.scale != resolver.scale:
        raise InputError(
            f"{options.model} is a model for x{resolver.scale}. Received: --scale {options.scale}"
        )
    with progress_bar("Upscaling") as progress:
        written = upscale_path(
            options.input, options.output, resolver, options.ensemble, options.overwrite, progress
        )
    where = written[0] if len(written) == 1 else f"{len(written)} images to {options.output}"
    say(f"Wrote {where}")
