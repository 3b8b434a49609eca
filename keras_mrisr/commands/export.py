"""`mrisr export`."""

import argparse

from keras_mrisr.commands.arguments import Commands, Parser, add_perception, check_exists, check_models


def add(commands: Commands, common: Parser) -> None:
    export = commands.add_parser(
        "export",
        parents=[common],
        help="write a model for TensorFlow Serving, onnxruntime, TensorRT or LiteRT",
    )
    export.add_argument("--model", metavar="RUN", required=True, help="trained model directory")
    export.add_argument("--to", default="saved_model", help="saved_model (the default), onnx or litert")
    export.add_argument("--out", metavar="DIR", required=True, help="folder to write")
    add_perception(export)
    export.add_argument("--size", metavar="HxW", help="fix the size of slices, such as 256x256")
    export.add_argument("--calibration", metavar="FOLDER", help="HR slices to compare with Keras on")
    export.add_argument("--name", help="of the model on a server (default: the name of DIR)")
    export.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    onnx = export.add_argument_group("of onnx")
    onnx.add_argument("--layout", default="nhwc", help="of input and output: nhwc (the default) or nchw")
    onnx.add_argument(
        "--precision",
        default="float32",
        help="float32 (the default), float16, or int8, calibrated on the slices of --calibration",
    )
    onnx.add_argument("--symmetric", action="store_true", help="int8 as TensorRT wants it")
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from keras_mrisr.terminal import load_tensorflow, say

    check_exists(*([options.calibration] if options.calibration else []))
    check_models(options.model)
    load_tensorflow()
    from keras_mrisr.export.export import export_model, parse_size

    export = export_model(
        options.model,
        options.out,
        options.to,
        size=parse_size(options.size) if options.size else None,
        layout=options.layout,
        precision=options.precision,
        calibration=options.calibration,
        symmetric=options.symmetric,
        name=options.name,
        perception=options.perception,
        overwrite=options.overwrite,
    )
    for line in export.lines():
        say(line)
