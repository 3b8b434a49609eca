"""`mrisr serve-client`."""

import argparse

from keras_mrisr.commands import upscale as upscaling
from keras_mrisr.commands.arguments import Commands, Parser, check_exists, secret

TOKEN = "MRISR_SERVER_TOKEN"


def add(commands: Commands, common: Parser) -> None:
    client = commands.add_parser("serve-client", help="use a model that TensorFlow Serving runs")
    actions = client.add_subparsers(title="commands", metavar="COMMAND")
    upscale = actions.add_parser("upscale", parents=[common], help="as mrisr upscale, on a server")
    upscaling.add_options(upscale)
    upscale.add_argument("--server", metavar="[https://]HOST:PORT", required=True, help="TensorFlow Serving")
    transport = upscale.add_mutually_exclusive_group()
    transport.add_argument("--grpc", action="store_const", const="grpc", dest="transport", help="the default")
    transport.add_argument("--rest", action="store_const", const="rest", dest="transport")
    upscale.add_argument("--name", default="mrisr", help="of the model on the server (default: mrisr)")
    upscale.add_argument(
        "--deadline",
        metavar="SECONDS",
        type=float,
        help="for each request, all tries together (default: 60, and 10 to find the server)",
    )
    upscale.add_argument("--at-once", type=int, default=4, help="requests under way at a time (default: 4)")
    upscale.add_argument("--batch", type=int, default=4, help="slices of a volume in one (default: 4)")
    secure = upscale.add_argument_group("encrypted connections (https://)")
    secure.add_argument("--ca", metavar="FILE", help="trust these authorities (PEM) in place of the system's")
    secure.add_argument("--certificate", metavar="FILE", help="the client's own certificate (PEM)")
    secure.add_argument("--key", metavar="FILE", help="private key of --certificate (PEM)")
    secure.add_argument(
        "--token-file", metavar="FILE", help=f"file of a bearer token (default: the variable {TOKEN}, if set)"
    )
    upscale.set_defaults(run=_upscale, transport="grpc")


def _upscale(options: argparse.Namespace) -> None:
    from keras_mrisr.terminal import load_tensorflow

    check_exists(options.input)
    if options.transport == "grpc":
        load_tensorflow()  # tensorflow-serving-api needs it.
    from keras_mrisr.export import ServingClient, ServingSuperResolver

    client = ServingClient(
        options.server,
        options.name,
        options.transport,
        options.deadline,
        options.at_once,
        options.batch,
        ca=options.ca,
        certificate=options.certificate,
        key=options.key,
        token=secret(options.token_file, TOKEN),
    )
    with client:
        upscaling.run(ServingSuperResolver(client), options)
