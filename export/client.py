"""A network on TensorFlow Serving as if it were here."""

import concurrent.futures
import json
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from keras_mrisr.errors import ConfigError, ModelError
from keras_mrisr.export.exported_resolver import ExportedSuperResolver
from keras_mrisr.export.transports import (
    Credentials,
    GrpcTransport,
    RefusedError,
    RestTransport,
    TransientError,
    Transport,
)
from keras_mrisr.inference.tiles import run_tiles, smallest_tile
from keras_mrisr.types import PathLike

TRANSPORTS: dict[str, Callable[[str, str, Credentials], Transport]] = {
    "grpc": GrpcTransport,
    "rest": RestTransport,
}
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0  # Seconds between tries.
_DEADLINE, _CONTACT = 60.0, 10.0  # Seconds for a request; for the first one, which finds the server.
_PIXELS = 512 * 512  # LR pixels of one request at most; larger slices are cut into tiles.
log = logging.getLogger(__name__)


class ServingClient:
    """Sends slices to TensorFlow Serving: in batches of equal size, several at a time, and patiently.

    A request has slices of one shape, and they must not be padded to one: the zeros would change what the
    network makes of the border. So slices are sorted by shape here.

    Args:
        server: "host:port", or "https://host:port" for an encrypted connection over either transport.
        name: Name of the model on the server.
        transport: "grpc" or "rest".
        deadline: Seconds in which each request must be answered, all tries together; by default 60, and 10
            until the server has answered once.
        at_once: Requests under way at a time.
        batch: Slices of a request, at most.
        ca: File (PEM) of the authorities to trust in place of the system's; for https.
        certificate: File (PEM) of the client's own certificate; for https, with `key`.
        key: File (PEM) of its private key.
        token: Sent with each request as a bearer token; only over https, or to this machine.

    Raises:
        ConfigError: An argument that cannot be.
        DataError: A file of certificates that cannot be used.
        MissingDependencyError: A package is missing.
    """

    def __init__(
        self,
        server: str,
        name: str = "mrisr",
        transport: str = "grpc",
        deadline: float | None = None,
        at_once: int = 4,
        batch: int = 4,
        *,
        ca: PathLike | None = None,
        certificate: PathLike | None = None,
        key: PathLike | None = None,
        token: str | None = None,
    ) -> None:
        if transport not in TRANSPORTS:
            raise ConfigError(f"`transport` must be one of {', '.join(TRANSPORTS)}. Received: {transport!r}")
        for word, value in (("deadline", deadline), ("at_once", at_once), ("batch", batch)):
            if value is not None and not value > 0:
                raise ConfigError(f"`{word}` must be positive. Received: {value!r}")
        address = _address(server)
        tls = str(server).startswith("https://")
        if not tls and any((ca, certificate, key)):
            raise ConfigError(f"Certificates are for an encrypted connection: https://{address}.")
        if token is not None and not tls and address.rpartition(":")[0] not in _LOCAL:
            raise ConfigError(f"A token would be readable on its way. Give https://{address}, or no token.")
        self.server, self.name, self.deadline = server, name, deadline
        self.at_once, self.batch = at_once, batch
        credentials = Credentials(tls, ca, certificate, key, token)
        self._transport = TRANSPORTS[transport](address, name, credentials)
        self._pool = concurrent.futures.ThreadPoolExecutor(at_once)
        self._answered = False
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends connections, and with them requests that are under way; those that wait are dropped."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._transport.close()
        self._pool.shutdown()

    def describe(self) -> dict[str, Any]:
        """What the model says about itself: the metadata of its export.

        Raises:
            ModelError: The server is down or too slow, or serves another model.
        """
        text = self._call(self._transport.describe)
        try:
            return json.loads(text)
        except (TypeError, ValueError) as error:
            raise self._foreign("it does not describe itself") from error

    def upscale(self, slices: Sequence[np.ndarray], shape: Sequence[int]) -> list[np.ndarray]:
        """Upscales slices of any sizes.

        Args:
            slices: Arrays (..., C), float32 in [0, 1], as the network takes them.
            shape: (channels of the result, factor of each axis...).

        Returns:
            List of the SR arrays, in the order of `slices`.

        Raises:
            ModelError: The server is down or too slow, or refuses.
        """
        channels, *factors = shape
        buckets: dict[tuple[int, ...], list[int]] = {}
        for place, one in enumerate(slices):
            buckets.setdefault(one.shape, []).append(place)
        groups: list[list[int]] = []
        for size, places in buckets.items():
            fit = max(1, min(self.batch, _PIXELS // math.prod(size[:-1])))
            groups += [places[first : first + fit] for first in range(0, len(places), fit)]

        def send(group: list[int]) -> np.ndarray:
            batch = np.stack([slices[place] for place in group]).astype("float32", copy=False)
            sizes = [size * factor for size, factor in zip(batch.shape[1:-1], factors, strict=True)]
            expected = (len(batch), *sizes, channels)
            return self._call(lambda seconds: self._transport.upscale(batch, expected, seconds))

        results: list[Any] = [None] * len(slices)
        requests = [self._pool.submit(send, group) for group in groups]
        try:
            for group, request in zip(groups, requests, strict=True):
                for place, sr in zip(group, request.result(), strict=True):
                    results[place] = sr
        finally:
            for request in requests:  # Nobody waits for the others once one has failed.
                request.cancel()
        return results

    def _call(self, send: Callable[[float], Any]) -> Any:
        """Calls send(seconds left) until it succeeds, is refused, or the deadline has come."""
        patience = self.deadline or (_DEADLINE if self._answered else _CONTACT)
        start, wait = time.monotonic(), _FIRST_WAIT
        while True:
            try:
                answer = send(start + patience - time.monotonic())
                self._answered = True
                return answer
            except RefusedError as error:
                if error.other_model:
                    raise self._foreign(str(error)) from error
                raise ModelError(f"{self.server} refuses: {error}") from error
            except TransientError as error:
                # Half of it at random: clients that failed together don't come back together.
                pause = wait * random.uniform(0.5, 1.0)
                spent = time.monotonic() - start
                if spent + pause >= patience or self._closed.is_set():
                    raise ModelError(
                        f"{self.server} gave no answer within {spent:.0f} s ({error}). Is TensorFlow Serving "
                        "up there? Check `server` (gRPC is usually at port 8500, REST at 8501), or allow a "
                        "longer `deadline`."
                    ) from error
                log.debug("%s: %s; trying again in %.1f s", self.server, error, pause)
                self._closed.wait(pause)
                wait = min(2 * wait, _LONGEST_WAIT)

    def _foreign(self, reason: str) -> ModelError:
        return ModelError(
            f"{self.server} refuses ({reason}): it must serve a model {self.name!r} that mrisr export wrote."
        )


def _address(server: str) -> str:
    """ "host:port" of a server, without https://."""
    address = str(server).removeprefix("https://").removesuffix("/")
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"`server` must be HOST:PORT, such as localhost:8500, or https://HOST:PORT. Received: {server!r}"
        )
    return address


class ServingSuperResolver(ExportedSuperResolver):
    """`SuperResolver` whose network is on a server; normalisation, tiles and geometry stay here.

    Args:
        client: A `ServingClient`.

    Raises:
        ModelError: The server is down, or serves another model.

    Examples:
        >>> with ServingClient("localhost:8500") as client:
        ...     sr = ServingSuperResolver(client)(lr)
    """

    pixels_together = 64 * 256 * 256  # Slices of a volume that are handed over at a time.

    def __init__(self, client: ServingClient) -> None:
        super().__init__(_Network(client), client.describe(), name=f"{client.name} on {client.server}")
        self.generator.shape = (self.channels, *self.factors)
        self.images_at_once = client.at_once

    def cancel(self) -> None:
        """Ends the requests that are under way; the client is closed with that."""
        self.generator.client.close()

    def most_pixels(self, sizes: Sequence[int], memory: int | None = None) -> int:
        """LR pixels of one request. It is the server's memory that counts, and not the one here."""
        if math.prod(sizes) <= _PIXELS:
            return _PIXELS
        return max(_PIXELS, smallest_tile(sizes, self._field.radius, self._field.period))

    def _run(self, lr: np.ndarray, most_pixels: int, step: Callable[..., None] | None) -> np.ndarray:
        # All slices at once: the client makes requests of them.
        tiles = self._plan(lr.shape[1:-1], most_pixels)
        return run_tiles(self._forward, lr, tiles, self.factors, len(lr), step)


class _Network:
    """The network on the server as `SuperResolver` takes one."""

    def __init__(self, client: ServingClient) -> None:
        self.client = client
        self.shape: tuple[int, ...] = ()

    def predict_on_batch(self, lr: np.ndarray) -> np.ndarray:
        return np.stack(self.client.upscale(list(lr), self.shape))
