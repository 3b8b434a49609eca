"""`mrisr dicom-node`."""

import argparse
import ssl
import threading

from keras_mrisr.commands import model_options
from keras_mrisr.commands.arguments import Commands, Parser, check_models
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.memory import memory_limit, parse_memory


def add(commands: Commands, common: Parser) -> None:
    node = commands.add_parser(
        "dicom-node",
        parents=[common],
        help="receive MR series by DICOM, upscale each, and send the derived series on",
        epilog="Example: mrisr dicom-node --queue queue --accept MR1@10.0.0.7 --forward PACS@10.0.0.5:104",
    )
    node.add_argument(
        "--queue", metavar="DIR", required=True, help="folder of what is received and to be sent"
    )
    node.add_argument(
        "--accept", metavar="AET@ADDRESS[:PORT]", action="append", required=True,
        help="take requests of this AE title from this address; may be given several times. Reports of "
        "Storage Commitment go to PORT, or else on the connection of the request",
    )  # fmt: skip
    node.add_argument(
        "--forward", metavar="AET@HOST:PORT", required=True, help="send derived series there, by C-STORE"
    )
    node.add_argument("--ae-title", default="MRISR", help="of the node itself (default: MRISR)")
    node.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all (default: 127.0.0.1)"
    )
    node.add_argument("--port", type=int, default=11112, help="port to listen on (default: 11112)")
    node.add_argument(
        "--quiet-time", metavar="SECONDS", type=float, default=10.0,
        help="a series is complete so long after its last instance (default: 10), or once Storage Commitment "
        "of its instances is asked for",
    )  # fmt: skip
    limits = node.add_argument_group("limits")
    limits.add_argument(
        "--associations", metavar="N", type=int, default=10, help="open at a time (default: 10)"
    )
    limits.add_argument(
        "--queue-size", metavar="SIZE", default="20GB", help="of received instances on disk (default: 20GB)"
    )
    secure = node.add_argument_group("encrypted connections")
    secure.add_argument(
        "--certificate", metavar="FILE", help="the node's own certificate (PEM): listen with TLS"
    )
    secure.add_argument("--key", metavar="FILE", help="private key of --certificate (PEM)")
    secure.add_argument(
        "--ca", metavar="FILE", help="with TLS, ask peers for certificates of these authorities (PEM)"
    )
    secure.add_argument("--forward-tls", action="store_true", help="send with TLS, too")
    node.add_argument("--consistency", action="store_true", help="change nothing that was measured")
    node.add_argument("--ensemble", action="store_true", help="average over flips and quarter turns")
    model_options.add_model_options(node)
    model_options.add_way_options(node)
    node.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from keras_mrisr.inference.options import UpscaleOptions
    from keras_mrisr.pacs.node import DicomNode, NodeOptions, Peer
    from keras_mrisr.terminal import say

    for name, least in (("port", 0), ("associations", 1), ("quiet_time", 0)):
        if getattr(options, name) < least:
            raise ConfigError(f"--{name.replace('_', '-')} must be {least} or more.")
    how = UpscaleOptions(
        ensemble=options.ensemble, consistency=options.consistency, **model_options.way_options(options)
    )
    server_tls, client_tls = _tls(options)
    node = NodeOptions(
        queue=options.queue,
        accept=[Peer.parse(text) for text in options.accept],
        forward=Peer.parse(options.forward, port=True),
        title=options.ae_title,
        host=options.host,
        port=options.port,
        quiet=options.quiet_time,
        associations=options.associations,
        queue_bytes=parse_memory(options.queue_size),
        server_tls=server_tls,
        client_tls=client_tls,
    )
    memory = None if options.memory is None else parse_memory(options.memory)
    if options.model is not None:
        check_models(options.model)
    # A port that is in use is said before a model is loaded.
    with memory_limit(memory), DicomNode(node, None, how) as running:
        running.models = model_options.load_models(options, None, memory)
        say(f"{options.ae_title} listens on {options.host}:{running.port}; Ctrl-C stops it")
        running.work(threading.Event())


def _tls(options: argparse.Namespace) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """(for what is received, for what is sent)"""
    if (options.certificate is None) != (options.key is None):
        raise ConfigError("--certificate and --key go together. Give both, or neither.")
    if options.ca is not None and options.certificate is None and not options.forward_tls:
        raise ConfigError(
            "--ca is for encrypted connections: give --certificate and --key, or --forward-tls."
        )
    try:
        server = None
        if options.certificate is not None:
            server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=options.ca)
            server.load_cert_chain(options.certificate, options.key)
            server.verify_mode = ssl.CERT_REQUIRED if options.ca else ssl.CERT_NONE
        client = None
        if options.forward_tls:
            client = ssl.create_default_context(cafile=options.ca)
            if options.certificate is not None:
                client.load_cert_chain(options.certificate, options.key)
    except (OSError, ssl.SSLError) as error:
        raise DataError(f"The certificates cannot be read: {error}.") from error
    return server, client
