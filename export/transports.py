"""How requests reach TensorFlow Serving: gRPC, or REST without any dependency."""

import base64
import contextlib
import dataclasses
import http.client
import json
import math
import pathlib
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from keras_mrisr.errors import DataError, MissingDependencyError
from keras_mrisr.types import PathLike

_AGAIN = (429, 500, 502, 503, 504)
_MERGED = "padding is turned off"  # What TensorFlow Serving says of slices of several sizes in a batch.
_NO_SLICE = "it answers, but not with an upscaled slice"
_LARGEST_TEXT = 2**24  # Bytes of an answer without pixels.
_LARGEST_MESSAGE = 2**30  # Bytes of an answer over gRPC, which knows one bound for all.


class TransientError(Exception):
    """The server may answer if it is asked again; the message says what happened."""


class RefusedError(Exception):
    """The server answered that it won't; the message is its reason.

    Attributes:
        other_model: Whether that is because it serves something else than is asked of it.
    """

    def __init__(self, reason: str, other_model: bool = False) -> None:
        super().__init__(reason)
        self.other_model = other_model or "signature" in reason.lower()


@dataclasses.dataclass(frozen=True)
class Credentials:
    """How a server and this client prove who they are.

    Attributes:
        tls: Whether the connection is encrypted, and the server's certificate checked.
        ca: File (PEM) of the authorities to trust in place of the system's.
        certificate: File (PEM) of this client's own certificate and the chain above it; with `key`.
        key: File (PEM) of its private key.
        token: Sent with each request as "Authorization: Bearer TOKEN".

    Raises:
        DataError: A file that is not there or holds no certificate; a certificate without its key.
    """

    tls: bool = False
    ca: PathLike | None = None
    certificate: PathLike | None = None
    key: PathLike | None = None
    token: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise DataError("A client's certificate needs its key, and the other way round: give both.")
        if self.tls:
            self.context()

    def context(self) -> ssl.SSLContext | None:
        """The context of an encrypted connection; None without encryption."""
        if not self.tls:
            return None
        for file in (self.ca, self.certificate, self.key):
            if file is not None and not pathlib.Path(file).is_file():
                raise DataError(f"{file} does not exist. Give a file of certificates or keys (PEM).")
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (ssl.SSLError, OSError) as error:
            files = " or ".join(str(file) for file in (self.ca, self.certificate, self.key) if file)
            raise DataError(f"{files} holds no usable certificate or key (PEM): {error}") from error
        return context

    def contents(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """The bytes of the authorities, the key and the certificate, as gRPC takes them."""
        ca, key, certificate = (
            None if file is None else pathlib.Path(file).read_bytes()
            for file in (self.ca, self.key, self.certificate)
        )
        return ca, key, certificate

    @property
    def headers(self) -> dict[str, str]:
        """What goes along with each request."""
        return {} if self.token is None else {"authorization": f"Bearer {self.token}"}


class Transport(Protocol):
    """How requests reach a server."""

    def upscale(self, batch: np.ndarray, shape: Sequence[int], seconds: float) -> np.ndarray:
        """(n, ..., C) float32 -> the SR array of the given shape."""

    def describe(self, seconds: float) -> str:
        """The JSON text that the model says about itself."""

    def close(self) -> None:
        """Ends requests that are under way."""


class RestTransport:
    """TensorFlow Serving's REST interface.

    Args:
        server: "host:port".
        name: Name of the model.
        credentials: `Credentials`.
    """

    def __init__(self, server: str, name: str, credentials: Credentials = Credentials()) -> None:
        self.server, self.path = server, f"/v1/models/{name}:predict"
        self._headers = {"Content-Type": "application/json", **credentials.headers}
        self._context = credentials.context()
        self._connections: set[http.client.HTTPConnection] = set()
        self._closed = False

    def upscale(self, batch: np.ndarray, shape: Sequence[int], seconds: float) -> np.ndarray:
        """(n, ..., C) float32 -> the SR array of the given shape."""
        data, sizes = _as_bytes(batch)
        encoded = [{"b64": base64.b64encode(one).decode()} for one in data]
        # Base64 takes 4 bytes for 3; the rest is for headers of tensors and JSON.
        most = _LARGEST_TEXT + 6 * math.prod(shape)
        outputs = self._post("upscale_raw", {"lr_bytes": encoded, "size": sizes}, seconds, most)
        try:
            return _from_bytes([base64.b64decode(one["b64"]) for one in outputs], shape)
        except (KeyError, TypeError) as error:
            raise RefusedError(_NO_SLICE, other_model=True) from error

    def describe(self, seconds: float) -> str:
        """The JSON text that the model says about itself."""
        return self._post("describe", {"query": ["?"]}, seconds, _LARGEST_TEXT)[0]

    def close(self) -> None:
        """Ends requests that are under way, each with a connection of its own; none comes after."""
        self._closed = True
        for connection in list(self._connections):
            with contextlib.suppress(OSError, AttributeError):  # No socket, or one that is closed.
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _post(self, signature: str, inputs: dict, seconds: float, most: int) -> Any:
        body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
        answer, data = self._exchange(body, seconds, most)
        if answer.status != 200:
            reason = _rest_reason(answer, data)
            raise (
                TransientError(reason)
                if answer.status in _AGAIN
                else RefusedError(reason, answer.status == 404)
            )
        if len(data) > most:
            raise RefusedError(f"it answers with more than {most} bytes", other_model=True)
        try:
            return json.loads(data)["outputs"]
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError("it answers, but not as TensorFlow Serving does", other_model=True) from error

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(self.server, timeout=seconds)
        return http.client.HTTPSConnection(self.server, timeout=seconds, context=self._context)

    def _exchange(self, body: bytes, seconds: float, most: int) -> tuple[http.client.HTTPResponse, bytes]:
        """Sends a request; the answer and its first `most` + 1 bytes."""
        connection = self._connection(seconds)
        self._connections.add(connection)
        try:
            connection.connect()
            if self._closed:  # `close` did not see this socket.
                raise TransientError("the client was closed")
            connection.request("POST", self.path, body, self._headers)
            answer = connection.getresponse()
            return answer, answer.read(most + 1)
        except ssl.SSLCertVerificationError as error:
            raise RefusedError(f"its certificate is not trusted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise RefusedError(f"it makes no encrypted connection: {error.reason or error}") from error
        except TimeoutError as error:
            raise TransientError("no answer in time") from error
        except http.client.RemoteDisconnected as error:
            raise TransientError("it closed the connection") from error
        except http.client.HTTPException as error:
            raise TransientError("it does not speak HTTP") from error
        except OSError as error:
            raise TransientError(error.strerror or type(error).__name__) from error
        finally:
            self._connections.discard(connection)
            connection.close()


class GrpcTransport:
    """TensorFlow Serving's gRPC interface; needs tensorflow-serving-api.

    Args:
        server: "host:port".
        name: Name of the model.
        credentials: `Credentials`.

    Raises:
        MissingDependencyError: tensorflow-serving-api is not installed.
    """

    def __init__(self, server: str, name: str, credentials: Credentials = Credentials()) -> None:
        try:
            import grpc
            import tensorflow as tf
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise MissingDependencyError(
                f"gRPC needs {error.name}: pip install tensorflow-serving-api, or take the `transport` rest."
            ) from error
        self.name = name
        self._grpc, self._messages, self._tf = grpc, predict_pb2, tf
        options = {
            "grpc.max_send_message_length": -1,
            "grpc.max_receive_message_length": _LARGEST_MESSAGE,
            # A server that was restarted is found again within a second or two.
            "grpc.initial_reconnect_backoff_ms": 200,
            "grpc.max_reconnect_backoff_ms": 2000,
        }
        if credentials.tls:
            secret = grpc.ssl_channel_credentials(*credentials.contents())
            self._channel = grpc.secure_channel(server, secret, list(options.items()))
        else:
            self._channel = grpc.insecure_channel(server, list(options.items()))
        self._headers = list(credentials.headers.items())
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def upscale(self, batch: np.ndarray, shape: Sequence[int], seconds: float) -> np.ndarray:
        """(n, ..., C) float32 -> the SR array of the given shape."""
        try:
            sr = self._tf.make_ndarray(self._predict("serving_default", seconds, lr=batch)["sr"])
        except RefusedError as error:
            # A server with batching merges what comes together, and fails all of it where sizes differ.
            if _MERGED not in str(error):
                raise
            data, sizes = _as_bytes(batch)  # These always merge.
            outputs = self._predict("upscale_raw", seconds, lr_bytes=data, size=np.asarray(sizes, "int32"))
            return _from_bytes(self._tf.make_ndarray(outputs["sr_bytes"]), shape)
        if sr.shape != tuple(shape):
            reason = f"it answers with an array {sr.shape} where {tuple(shape)} is expected"
            raise RefusedError(reason, other_model=True)
        return sr

    def describe(self, seconds: float) -> str:
        """The JSON text that the model says about itself."""
        info = self._predict("describe", seconds, query=[b"?"])["info"]
        return self._tf.make_ndarray(info)[0].decode()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _predict(self, signature: str, seconds: float, **inputs: Any) -> Any:
        request = self._messages.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self.name, signature
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(self._tf.make_tensor_proto(value))
        try:
            return self._service.Predict(request, timeout=seconds, metadata=self._headers).outputs
        except self._grpc.RpcError as error:
            code, reason = error.code(), error.details() or error.code().name
            if code is self._grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TransientError("no answer in time") from error
            if "certificate" in reason.lower() or "handshake" in reason.lower():
                raise RefusedError(f"no encrypted connection: {reason}") from error
            again = code.name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED", "INTERNAL")
            if again:
                raise TransientError(reason) from error
            raise RefusedError(reason, code is self._grpc.StatusCode.NOT_FOUND) from error


def _as_bytes(batch: np.ndarray) -> tuple[list[bytes], list[list[int]]]:
    """(n, ..., C) -> (the numbers of each slice as bytes, its sizes), which upscale_raw takes."""
    return [one.astype("<f4").tobytes() for one in batch], [list(batch.shape[1:-1])] * len(batch)


def _from_bytes(tensors: Sequence[bytes], shape: Sequence[int]) -> np.ndarray:
    """What upscale_raw answers -> the SR array of the given shape."""
    length = 4 * math.prod(shape[1:])
    try:
        # The numbers stand at the end of each serialised tensor.
        return np.frombuffer(b"".join(one[-length:] for one in tensors), "<f4").reshape(shape)
    except ValueError as error:
        raise RefusedError(_NO_SLICE, other_model=True) from error


def _rest_reason(answer: http.client.HTTPResponse, data: bytes) -> str:
    """What the server says in the body of an HTTP error."""
    try:
        return str(json.loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status} {answer.reason}"
