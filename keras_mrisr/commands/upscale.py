"""`mrisr upscale`."""

import argparse
from typing import TYPE_CHECKING

from keras_mrisr.commands.arguments import Commands, Parser, check_exists, check_models
from keras_mrisr.errors import ConfigError
from keras_mrisr.memory import memory_limit, parse_memory

if TYPE_CHECKING:
    from keras_mrisr.inference.inputs import Folder, Input
    from keras_mrisr.inference.super_resolver import SuperResolver


def add(commands: Commands, common: Parser) -> None:
    upscale = commands.add_parser(
        "upscale", parents=[common], help="upscale an image, a folder of images, or a NIfTI or DICOM volume"
    )
    add_options(upscale)
    upscale.add_argument(
        "--model", metavar="MODEL",
        help="trained model directory, an ONNX export, or a name from mrisr models (default: of these "
        "the one that fits --scale and IN)",
    )  # fmt: skip
    upscale.add_argument("--scale", type=int, help="upscale by this (default: by 2, or as the model does)")
    upscale.add_argument(
        "--memory",
        metavar="SIZE",
        help="what the program may occupy in all, such as 2GB (default: what is free)",
    )
    upscale.add_argument(
        "--providers",
        metavar="NAME,...",
        help="of an ONNX export: where it runs, such as cuda,cpu (default: the best that is installed)",
    )
    upscale.set_defaults(run=_upscale)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options about what is upscaled and how; `run` reads them."""
    parser.add_argument(
        "input",
        metavar="IN",
        help="image (PNG, TIFF, JPEG) or NIfTI file, or folder of them; DICOM file or folder",
    )
    parser.add_argument("output", metavar="OUT", help="image, folder, .nii or .nii.gz to write")
    parser.add_argument("--ensemble", action="store_true", help="average over flips and quarter turns")
    parser.add_argument(
        "--consistency", action="store_true",
        help="change nothing that was measured: the result degrades to IN again (residual in OUT.json)",
    )  # fmt: skip
    parser.add_argument(
        "--nan", choices=("refuse", "zero"), default="refuse",
        help="what becomes of NaN and infinite values in IN: an error, or zero where they are background, as "
        "SPM and FSL leave it (default: refuse)",
    )  # fmt: skip
    parser.add_argument(
        "--figure", metavar="OUT", help="also write a picture: IN interpolated beside the result"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what exists at OUT")
    volumes = parser.add_argument_group("of volumes")
    volumes.add_argument(
        "--plane", choices=("axial", "coronal", "sagittal"),
        help="in which the slices lie (default: across the largest spacing)",
    )  # fmt: skip
    volumes.add_argument("--volume-index", metavar="N", type=int, help="which volume of a 4-D file, from 0")
    volumes.add_argument("--series", help="which series of a DICOM folder: number, description or UID")
    volumes.add_argument(
        "--uncertainty", metavar="OUT", help="also write the standard deviation over flips and quarter turns"
    )


def run(
    resolver: "SuperResolver", options: argparse.Namespace, found: "Input | Folder | None" = None
) -> None:
    """Upscales what the options of `add_options` say with a `SuperResolver`."""
    from keras_mrisr.inference.inputs import input_at
    from keras_mrisr.inference.options import UpscaleOptions
    from keras_mrisr.inference.upscale import upscale_input
    from keras_mrisr.terminal import progress_bar, say

    how = UpscaleOptions(
        ensemble=options.ensemble,
        consistency=options.consistency,
        overwrite=options.overwrite,
        nan=options.nan,
        plane=options.plane,
        volume_index=options.volume_index,
        series=options.series,
        uncertainty=options.uncertainty,
        figure=options.figure,
    )
    with progress_bar("Upscaling") as progress:
        outcome = upscale_input(found or input_at(options.input), options.output, resolver, how, progress)
    written = outcome.written
    where = ", ".join(map(str, written)) if len(written) <= 3 else f"{len(written)} files to {options.output}"
    say(f"Wrote {where}")
    say(f"Verdict: {outcome.verdict.sentence(resolver.name)}")


def _upscale(options: argparse.Namespace) -> None:
    check_exists(options.input)
    if options.scale is not None and options.scale < 2:
        raise ConfigError(f"--scale must be 2 or more. Received: {options.scale}")
    from keras_mrisr.inference.inputs import input_at

    found = input_at(options.input)
    if options.model is None:
        options.model = _choose(options, found)
    check_models(options.model)
    memory = None if options.memory is None else parse_memory(options.memory)
    resolver = _load(options, memory)
    if options.scale is not None and options.scale != resolver.scale:
        raise ConfigError(
            f"{options.model} is a model for x{resolver.scale}. Received: --scale {options.scale}. "
            f"Leave that out, or choose a model for x{options.scale} (see mrisr models)."
        )
    with memory_limit(memory):
        run(resolver, options, found)


def _choose(options: argparse.Namespace, found: "Input | Folder") -> str:
    """The folder of the model that fits the input: a path of the model's name would come before it."""
    from keras_mrisr.inference.inputs import channels_of
    from keras_mrisr.pretrained import choose_model
    from keras_mrisr.terminal import say

    channels = channels_of(found)
    model, reason = choose_model(options.scale or 2, channels or 1, volume=channels is None)
    say(f"Model: {reason}")
    return str(model.folder)


def _load(options: argparse.Namespace, memory: int | None) -> "SuperResolver":
    from keras_mrisr.export.onnx_resolver import OnnxSuperResolver, is_onnx

    if is_onnx(options.model):
        providers = options.providers.split(",") if options.providers else None
        return OnnxSuperResolver.load(options.model, memory, providers)
    if options.providers:
        raise ConfigError(f"--providers is for an ONNX export. Received: --model {options.model}")
    from keras_mrisr.terminal import load_tensorflow

    load_tensorflow()
    from keras_mrisr.inference import SuperResolver

    return SuperResolver.load(options.model, memory)
