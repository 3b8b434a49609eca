"""The server of a DICOM node: pynetdicom's, but for how encrypted connections begin."""

import logging
import socket
import ssl
import threading
from typing import Any

from pynetdicom import AE
from pynetdicom.transport import ThreadedAssociationServer

log = logging.getLogger(__name__)

_HANDSHAKE = 30.0  # Seconds.


class Server(ThreadedAssociationServer):
    """Shakes hands in the thread of each connection.

    pynetdicom 3.0 does so before it takes the next connection: whoever opens one and says nothing keeps all
    others out.
    """

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection, without encryption so far."""
        accepted: tuple[socket.socket, Any] = self.socket.accept()  # type: ignore[union-attr]
        return accepted

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shakes hands where connections are encrypted, and goes on."""
        if self.ssl_context is not None:
            try:
                request.settimeout(_HANDSHAKE)
                request = self.ssl_context.wrap_socket(request, server_side=True)
                request.settimeout(None)
            except OSError as error:
                log.warning("Refused: a connection of %s without a fitting certificate (%s)",
                            client_address[0], getattr(error, "reason", None) or error)  # fmt: skip
                self.shutdown_request(request)
                return
        super().process_request_thread(request, client_address)


def start_server(
    entity: AE, place: tuple[str, int], handlers: list[Any], tls: ssl.SSLContext | None
) -> Server:
    """Listens in a thread of its own.

    Args:
        entity: What is offered.
        place: (address, port)
        handlers: pynetdicom's, of events.
        tls: For encrypted connections, or None.

    Raises:
        OSError: The address cannot be had.
    """
    server: Any = entity.make_server(place, ssl_context=tls, evt_handlers=handlers, server_class=Server)
    entity._servers.append(server)  # `shutdown` takes it out again.
    threading.Thread(target=server.serve_forever, name="DICOM", daemon=True).start()
    return server
