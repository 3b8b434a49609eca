"""How requests reach TensorFlow Serving: gRPC, or REST without any dependency."""

import base64
import contextlib
import http.client
import json
import math
import socket

import numpy as np

from keras_mrisr.errors import ModelError

_AGAIN = (429, 500, 502, 503, 504)
_MERGED = "padding is turned off"  # What TensorFlow Serving says of slices of several sizes in a batch.
_NO_SLICE = "it answers, but not with an upscaled slice"


class Transient(Exception):
    """The server may answer if it is asked again; the message says what happened."""


class Refused(Exception):
    """The server answered that it won't; the message is its reason.

    Attributes:
        other_model: Whether that is because it serves something else than is asked of it.
    """

    def __init__(self, reason, other_model=False):
        super().__init__(reason)
        self.other_model = other_model or "signature" in reason.lower()


class RestTransport:
    """TensorFlow Serving's REST interface.

    Args:
        server: "host:port".
        name: Name of the model.
    """

    def __init__(self, server, name):
        self.server, self.path = server, f"/v1/models/{name}:predict"
        self._connections, self._closed = set(), False

    def upscale(self, batch, shape, seconds):
        """(n, ..., C) float32 -> the SR array of the given shape."""
        data, sizes = _as_bytes(batch)
        encoded = [{"b64": base64.b64encode(one).decode()} for one in data]
        outputs = self._post("upscale_raw", {"lr_bytes": encoded, "size": sizes}, seconds)
        try:
            return _from_bytes([base64.b64decode(one["b64"]) for one in outputs], shape)
        except (KeyError, TypeError) as error:
            raise Refused(_NO_SLICE, other_model=True) from error

    def describe(self, seconds):
        """The JSON text that the model says about itself."""
        return self._post("describe", {"query": ["?"]}, seconds)[0]

    def close(self):
        """Ends requests that are under way, each with a connection of its own; none comes after."""
        self._closed = True
        for connection in list(self._connections):
            with contextlib.suppress(OSError, AttributeError):  # No socket, or one that is closed.
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _post(self, signature, inputs, seconds):
        body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
        connection = http.client.HTTPConnection(self.server, timeout=seconds)
        self._connections.add(connection)
        try:
            connection.connect()
            if self._closed:  # `close` did not see this socket.
                raise Transient("the client was closed")
            connection.request("POST", self.path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
        except TimeoutError as error:
            raise Transient("no answer in time") from error
        except http.client.RemoteDisconnected as error:
            raise Transient("it closed the connection") from error
        except http.client.HTTPException as error:
            raise Transient("it does not speak HTTP") from error
        except OSError as error:
            raise Transient(error.strerror or type(error).__name__) from error
        finally:
            self._connections.discard(connection)
            connection.close()
        if answer.status != 200:
            reason = _rest_reason(answer, data)
            raise Transient(reason) if answer.status in _AGAIN else Refused(reason, answer.status == 404)
        try:
            return json.loads(data)["outputs"]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("it answers, but not as TensorFlow Serving does", other_model=True) from error


class GrpcTransport:
    """TensorFlow Serving's gRPC interface; needs tensorflow-serving-api.

    Args:
        server: "host:port".
        name: Name of the model.
    """

    def __init__(self, server, name):
        try:
            import grpc
            import tensorflow as tf
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise ModelError(
                f"gRPC needs {error.name}: pip install 'keras-mrisr[export]', or take --rest"
            ) from error
        self.name = name
        self._grpc, self._messages, self._tf = grpc, predict_pb2, tf
        options = {
            "grpc.max_send_message_length": -1,
            "grpc.max_receive_message_length": -1,
            # A server that was restarted is found again within a second or two.
            "grpc.initial_reconnect_backoff_ms": 200,
            "grpc.max_reconnect_backoff_ms": 2000,
        }
        self._channel = grpc.insecure_channel(server, list(options.items()))
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def upscale(self, batch, shape, seconds):
        """(n, ..., C) float32 -> the SR array of the given shape."""
        try:
            sr = self._tf.make_ndarray(self._predict("serving_default", seconds, lr=batch)["sr"])
        except Refused as error:
            # A server with batching merges what comes together, and fails all of it where sizes differ.
            if _MERGED not in str(error):
                raise
            data, sizes = _as_bytes(batch)  # These always merge.
            outputs = self._predict("upscale_raw", seconds, lr_bytes=data, size=np.asarray(sizes, "int32"))
            return _from_bytes(self._tf.make_ndarray(outputs["sr_bytes"]), shape)
        if sr.shape != tuple(shape):
            reason = f"it answers with an array {sr.shape} where {tuple(shape)} is expected"
            raise Refused(reason, other_model=True)
        return sr

    def describe(self, seconds):
        """The JSON text that the model says about itself."""
        info = self._predict("describe", seconds, query=[b"?"])["info"]
        return self._tf.make_ndarray(info)[0].decode()

    def close(self):
        """Closes the connection."""
        self._channel.close()

    def _predict(self, signature, seconds, **inputs):
        request = self._messages.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self.name, signature
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(self._tf.make_tensor_proto(value))
        try:
            return self._service.Predict(request, timeout=seconds).outputs
        except self._grpc.RpcError as error:
            code, reason = error.code(), error.details() or error.code().name
            if code is self._grpc.StatusCode.DEADLINE_EXCEEDED:
                raise Transient("no answer in time") from error
            again = code.name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED", "INTERNAL")
            if again:
                raise Transient(reason) from error
            raise Refused(reason, code is self._grpc.StatusCode.NOT_FOUND) from error


def _as_bytes(batch):
    """(n, ..., C) -> (the numbers of each slice as bytes, its sizes), which upscale_raw takes."""
    return [one.astype("<f4").tobytes() for one in batch], [list(batch.shape[1:-1])] * len(batch)


def _from_bytes(tensors, shape):
    """What upscale_raw answers -> the SR array of the given shape."""
    length = 4 * math.prod(shape[1:])
    try:
        # The numbers stand at the end of each serialised tensor.
        return np.frombuffer(b"".join(one[-length:] for one in tensors), "<f4").reshape(shape)
    except ValueError as error:
        raise Refused(_NO_SLICE, other_model=True) from error


def _rest_reason(answer, data):
    """What the server says in the body of an HTTP error."""
    try:
        return str(json.loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status} {answer.reason}"
