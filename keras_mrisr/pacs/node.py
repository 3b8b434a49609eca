"""A DICOM node: receives series, upscales each when it is complete, and sends the derived series on."""

import dataclasses
import logging
import pathlib
import re
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any, Self

from keras_mrisr.errors import ConfigError, DataError, MissingDependencyError
from keras_mrisr.folders import no_place_left, reason_of
from keras_mrisr.inference.folder import Job, upscale_each
from keras_mrisr.inference.options import Outcome, UpscaleOptions
from keras_mrisr.inference.scan import Scan
from keras_mrisr.pacs.queue import Queue, Refused
from keras_mrisr.types import PathLike
from keras_mrisr.volumes.dicom import dicom

log = logging.getLogger(__name__)

_PEER = re.compile(r"(?P<title>[ -~]{1,16})@(?P<host>\[[0-9a-fA-F:]+\]|[^@:\s]+)(?::(?P<port>\d{1,5}))?")
_SUCCESS = 0x0000
_TIMEOUT = 30  # Seconds without an answer of a peer.
_POLL = 0.5  # Seconds between two looks at the queue.
_RETRY = 30  # Seconds until a peer that did not take a series is asked again.


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another DICOM node.

    Attributes:
        title: Its AE title.
        host: Its address.
        port: Its port; 0 where it is not known, or only its requests matter.
    """

    title: str
    host: str
    port: int = 0

    @classmethod
    def parse(cls, text: str, port: bool = False) -> Self:
        """From "AET@HOST:PORT"; where `port` is false that may be missing.

        Raises:
            ConfigError: It is neither.
        """
        found = _PEER.fullmatch(text)
        lacks_port = found is not None and port and not found["port"]
        if found is None or lacks_port or int(found["port"] or 1) not in range(1, 65536):
            form = "AET@HOST:PORT, such as PACS@10.0.0.5:104" if port else "AET@ADDRESS, such as MR1@10.0.0.7"
            raise ConfigError(f"A DICOM node is given as {form}. Received: {text!r}")
        return cls(found["title"].strip(), found["host"].strip("[]"), int(found["port"] or 0))

    def __str__(self) -> str:
        return f"{self.title}@{self.host}" + (f":{self.port}" if self.port else "")


@dataclasses.dataclass(frozen=True)
class NodeOptions:
    """How a node works.

    Attributes:
        queue: The folder of its queue.
        accept: Whose requests it takes: AE title and address must be those of one of these. Reports of
            Storage Commitment go to the port of it, or on the connection of the request where it has none.
        forward: Where derived series go.
        title: Its own AE title.
        host: The address that it listens on.
        port: The port; 0 takes a free one.
        quiet: Seconds after its last instance at which a series is complete; a Storage Commitment of its
            instances makes it complete at once.
        associations: How many may be open at a time.
        queue_bytes: What received instances may take on the disk.
        server_tls: For what is received, or None for plain connections.
        client_tls: For what is sent, or None.
    """

    queue: PathLike
    accept: Sequence[Peer]
    forward: Peer
    title: str = "MRISR"
    host: str = "127.0.0.1"
    port: int = 11112
    quiet: float = 10.0
    associations: int = 10
    queue_bytes: int = 20 * 10**9
    server_tls: ssl.SSLContext | None = None
    client_tls: ssl.SSLContext | None = None


class DicomNode:
    """Receives MR series by C-STORE and sends a derived series on for each; answers C-ECHO.

    A series is complete after a quiet time, or once Storage Commitment is asked for its instances. An
    instance is acknowledged once it is on the disk. A series that cannot be upscaled is put aside in the
    queue with the reason. Enter it as a context to listen; `work` does the rest.

    Args:
        options: How.
        models: See `upscale_path`; may be set before `work`, so that what is received meanwhile is kept.
        upscaling: How series are upscaled.

    Raises:
        DataError: The queue cannot be written.
        MissingDependencyError: pynetdicom is not installed.
    """

    def __init__(self, options: NodeOptions, models: Any, upscaling: UpscaleOptions | None = None) -> None:
        try:
            import pynetdicom  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                "A DICOM node needs pynetdicom, which is not installed: pip install pynetdicom"
            ) from error
        self.options, self.models = options, models
        self.upscaling = dataclasses.replace(upscaling or UpscaleOptions(), overwrite=True, residuals=False)
        self.queue = Queue(options.queue, options.queue_bytes)
        self._tried: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Listens.

        Raises:
            DataError: The address cannot be had, such as a port that is in use.
        """
        from pynetdicom import evt

        from keras_mrisr.pacs.commitment import Commitment
        from keras_mrisr.pacs.server import start_server

        entity = self._entity()
        commitment = Commitment(
            self.queue.commit, self._address, self.options.title, self.options.client_tls, _TIMEOUT
        )
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda event: _SUCCESS),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_N_ACTION, commitment.request),
            (evt.EVT_PDU_SENT, commitment.sent),
        ]
        place = (self.options.host, self.options.port)
        try:
            self._server = start_server(entity, place, handlers, self.options.server_tls)
        except OSError as error:
            raise DataError(
                f"Cannot listen on {place[0]}:{place[1]}: {error.strerror}. Choose another port."
            ) from error
        self.port = self._server.server_address[1]
        log.info("%s listens on %s:%d", self.options.title, self.options.host, self.port)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    def work(self, stop: threading.Event) -> None:
        """Upscales and sends what is complete, until `stop` is set."""
        while not stop.is_set():
            self.step()
            stop.wait(_POLL)

    def step(self) -> None:
        """Upscales each series that is complete, and sends each derived one."""
        for series in self.queue.complete(self.options.quiet):
            if self._is_due(series):
                self._upscale(series)
        for derived in self.queue.outgoing():
            if self._is_due(derived):
                self._send(derived)

    def _is_due(self, folder: pathlib.Path) -> bool:
        """Whether it was not tried in vain a short while ago."""
        return self._tried.get(str(folder), -_RETRY) + _RETRY <= time.monotonic()

    def _retry(self, folder: pathlib.Path, reason: str) -> None:
        self._tried[str(folder)] = time.monotonic()
        log.warning("%s It is tried again in %d s.", reason, _RETRY)

    def _upscale(self, series: pathlib.Path) -> None:
        files, target = self.queue.files(series), self.queue.derived(series)
        [(_, result)] = upscale_each([Job(Scan(series, dicom), target, self.upscaling)], self.models)
        if not isinstance(result, Outcome):
            reason = reason_of(result, series)
            if no_place_left(result):
                self._retry(series, reason)
                return
            log.warning("Series %s is put aside: %s", series.name, reason)
            self.queue.fail(series, reason)
        elif self.queue.done(series, files):
            log.info("Series %s: upscaled by %s", series.name, " and ".join(result.models))
        else:  # The derived one is made again, from all, once it is quiet.
            log.info("Series %s: more came while it was upscaled", series.name)

    def _send(self, derived: pathlib.Path) -> None:
        try:
            send(
                sorted(derived.glob("*.dcm")),
                self.options.forward,
                self.options.title,
                self.options.client_tls,
            )
        except DataError as error:
            self._retry(derived, str(error))
            return
        log.info("Series %s: the derived one was sent to %s", derived.name, self.options.forward)
        self.queue.sent(derived)

    def _entity(self) -> Any:
        from pydicom.uid import UID, EnhancedMRImageStorage, MRImageStorage
        from pynetdicom import AE, ALL_TRANSFER_SYNTAXES

        from keras_mrisr.pacs.commitment import CLASS

        entity = AE(ae_title=self.options.title)
        entity.add_supported_context(UID("1.2.840.10008.1.1"))  # Verification, which is C-ECHO.
        entity.add_supported_context(CLASS)
        for storage in (MRImageStorage, EnhancedMRImageStorage):
            entity.add_supported_context(storage, ALL_TRANSFER_SYNTAXES)
        entity.require_called_aet = True
        entity.require_calling_aet = sorted({peer.title for peer in self.options.accept})
        entity.maximum_associations = self.options.associations
        entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = _TIMEOUT
        return entity

    def _requested(self, event: Any) -> None:
        """Ends what comes from an address that was not told, or with a title of another address."""
        requestor = event.assoc.requestor
        title, address = requestor.primitive.calling_ae_title.strip(), requestor.address
        if not any((peer.title, peer.host) == (title, address) for peer in self.options.accept):
            log.warning("Refused: a request of %s from %s, which is not accepted", title, address)
            if any(peer.title == title for peer in self.options.accept):
                event.assoc.abort()

    def _address(self, title: str, address: str) -> tuple[str, int] | None:
        """Where a peer takes reports of Storage Commitment, if that is known."""
        for peer in (*self.options.accept, self.options.forward):
            if (peer.title, peer.host) == (title, address) and peer.port:
                return peer.host, peer.port
        return None

    def _rejected(self, event: Any) -> None:
        log.warning("Refused: an association with %s", event.assoc.requestor.address)

    def _store(self, event: Any) -> int:
        try:
            self.queue.put(event.encoded_dataset())
        except Refused as refused:
            log.warning("Refused an instance of %s: %s", event.assoc.requestor.ae_title, refused)
            return refused.status
        return _SUCCESS


def send(files: Sequence[pathlib.Path], peer: Peer, title: str, tls: ssl.SSLContext | None = None) -> None:
    """Sends DICOM files by C-STORE.

    Args:
        files: The files, of one kind or several.
        peer: Who gets them.
        title: The AE title of who sends them.
        tls: For an encrypted connection.

    Raises:
        DataError: The peer does not answer, or does not take one of them.
    """
    import pydicom
    from pynetdicom import AE, build_context

    kinds = set()
    for file in files:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SOPClassUID"])
        kinds.add((header.SOPClassUID, header.file_meta.TransferSyntaxUID))
    entity = AE(ae_title=title)
    entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = _TIMEOUT
    # Each transfer syntax in a context of its own: of several in one the peer picks one, and the others
    # cannot be sent.
    contexts = [build_context(storage, syntax) for storage, syntax in sorted(kinds)]
    tls_args = None if tls is None else (tls, peer.host)
    association = entity.associate(peer.host, peer.port, contexts, ae_title=peer.title, tls_args=tls_args)
    if not association.is_established:
        raise DataError(f"{peer} does not take a connection of {title}.")
    try:
        for file in files:
            _send_one(association, file, peer)
    finally:
        association.release()


def _send_one(association: Any, file: pathlib.Path, peer: Peer) -> None:
    try:
        status = association.send_c_store(file)
    except (ValueError, RuntimeError, AttributeError) as error:
        raise DataError(f"{peer} does not take {file.name}: {error}.") from error
    code = status.get("Status") if status else None
    if code is None:
        raise DataError(f"{peer} did not answer when {file.name} was sent.")
    if code != _SUCCESS and code & 0xF000 != 0xB000:  # Those are warnings: it was stored.
        raise DataError(f"{peer} refused {file.name} with status 0x{code:04X}.")
