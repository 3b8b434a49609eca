"""How requests reach TensorFlow Serving: gRPC, or REST without any dependency."""

import base64
import http.client
import json
import math
import urllib.error
import urllib.request

import numpy as np

from keras_mrisr.errors import InputError

_AGAIN = (429, 500, 502, 503, 504)


class Transient(Exception):
    """The server may answer if it is asked again; the message says what happened."""


class Refused(Exception):
    """The server answered that it won't; the message is its reason."""


class RestTransport:
    """TensorFlow Serving's REST interface.

    Args:
        server: "host:port".
        name: Name of the model.
    """

    def __init__(self, server, name):
        self.url = f"http://{server}/v1/models/{name}:predict"

    def upscale(self, batch, shape, seconds):
        """(n, ..., C) float32 -> the SR array of the given shape."""
        encoded = [{"b64": base64.b64encode(one.astype("<f4").tobytes()).decode()} for one in batch]
        sizes = [list(batch.shape[1:-1])] * len(batch)
        outputs = self._post("upscale_raw", {"lr_bytes": encoded, "size": sizes}, seconds)
        length = 4 * math.prod(shape[1:])
        try:
            # The numbers stand at the end of each serialised tensor.
            content = b"".join(base64.b64decode(one["b64"])[-length:] for one in outputs)
            return np.frombuffer(content, "<f4").reshape(shape)
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("it answers, but not with an enlarged slice") from error

    def describe(self, seconds):
        """The JSON text that the model says about itself."""
        return self._post("describe", {"query": ["?"]}, seconds)[0]

    def close(self):
        """Nothing to close: each request has a connection of its own."""

    def _post(self, signature, inputs, seconds):
        body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return json.load(answer)["outputs"]
        except urllib.error.HTTPError as error:
            reason = _rest_reason(error)
            raise (Transient if error.code in _AGAIN else Refused)(reason) from error
        except TimeoutError as error:
            raise Transient("no answer in time") from error
        except (OSError, http.client.HTTPException) as error:
            raise Transient(str(getattr(error, "reason", error)) or type(error).__name__) from error
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("it answers, but not as TensorFlow Serving does") from error


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
            raise InputError(
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
        sr = self._tf.make_ndarray(self._predict("serving_default", seconds, lr=batch)["sr"])
        if sr.shape != tuple(shape):
            raise Refused(f"it answers with an array {sr.shape} where {tuple(shape)} is expected")
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
            raise (Transient if again else Refused)(reason) from error


def _rest_reason(error):
    """What the server says in the body of an HTTP error."""
    try:
        return str(json.loads(error.read())["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"HTTP {error.code} {error.reason}"
