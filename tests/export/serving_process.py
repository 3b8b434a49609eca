"""TensorFlow Serving's gRPC and REST interfaces over SavedModels, in a process that can misbehave.

    python serving_process.py '{"name": "folder of a SavedModel", ...}'

Its first line has its two ports. What is posted to /faults as JSON holds from then on: {"fail": n} refuses
the next n requests for slices as unavailable, {"delay": s} answers each after s seconds, {"restart": n} drops
everything after n requests and comes back on the same gRPC port half a second later, {"merge": true} fails
slices that come after some of another size, as a server with batching does that merges them, {"nan": true}
answers requests for slices with NaN, {"load": {...}} serves more models. The answer is the list of requests
since the last time: their shapes, and how many were under way.
"""

import base64
import concurrent.futures
import http.server
import json
import sys
import threading
import time

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

MODELS = {name: tf.saved_model.load(path) for name, path in json.loads(sys.argv[1]).items()}
assert not [name for name in sys.modules if name.startswith("keras_mrisr")]


class Failure(Exception):
    """An answer that is none: gRPC status, HTTP code and text."""


class Faults:
    """Counts requests, and does to them what it was told to."""

    def __init__(self):
        self.lock = threading.Lock()
        self.restart = threading.Event()
        self.log, self.under_way, self.told = [], 0, {}

    def tell(self, faults):
        for name, path in faults.pop("load", {}).items():
            MODELS[name] = tf.saved_model.load(path)
        with self.lock:
            log, self.log, self.told = self.log, [], faults
        return log

    def __call__(self, inputs):
        with self.lock:
            shapes = [list(value.shape) for value in inputs.values()]
            self.log.append({"shapes": shapes, "under_way": self.under_way})
            number = len(self.log)
        if self.told.get("restart") == number:
            self.restart.set()
        time.sleep(self.told.get("delay", 0))
        alike = [one["shapes"] for one in self.log if len(one["shapes"]) == len(shapes)]
        if self.told.get("merge") and any(one[0][1:] != shapes[0][1:] for one in alike):
            text = (
                "Tensors with name 'serving_default_lr:0' from different tasks have different shapes and "
                "padding is turned off."
            )
            raise Failure(grpc.StatusCode.FAILED_PRECONDITION, 400, text)
        if number <= self.told.get("fail", 0):
            raise Failure(grpc.StatusCode.UNAVAILABLE, 503, "the server is busy")


def run(model, signature, inputs):
    """{output: array} of a model's signature, or a Failure with the words of TensorFlow Serving."""
    if model not in MODELS:
        raise Failure(grpc.StatusCode.NOT_FOUND, 404, f"Servable not found for request: Latest({model})")
    if signature not in MODELS[model].signatures:
        text = f'Serving signature name: "{signature}" not found in signature def'
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, 400, text)
    with faults.lock:
        faults.under_way += 1
    try:
        if signature != "describe":
            faults(inputs)
        outputs = MODELS[model].signatures[signature](**inputs)
        outputs = {key: value.numpy() for key, value in outputs.items()}
        if faults.told.get("nan") and signature != "describe":
            return {key: diverged(value) for key, value in outputs.items()}
        return outputs
    except tf.errors.OpError as error:
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, 400, str(error).splitlines()[0]) from error
    finally:
        with faults.lock:
            faults.under_way -= 1


def diverged(value):
    """NaN in place of the numbers of an output, or of those that are in its bytes."""
    if value.dtype != object:
        return np.full_like(value, np.nan)
    return np.array([b"\xff" * len(one) for one in np.ravel(value)], object)


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def Predict(self, request, context):
        inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        try:
            spec = request.model_spec
            outputs = run(spec.name, spec.signature_name or "serving_default", inputs)
        except Failure as failure:
            context.abort(failure.args[0], failure.args[2])
        answer = predict_pb2.PredictResponse(model_spec=request.model_spec)
        for key, value in outputs.items():
            answer.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return answer


class Rest(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        code, body = 200, None
        try:
            body = faults.tell(request) if self.path == "/faults" else self.predict(request)
        except Failure as failure:
            code, body = failure.args[1], {"error": failure.args[2]}
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def predict(self, request):
        name, _, verb = self.path.removeprefix("/v1/models/").partition(":")
        if verb != "predict":
            raise Failure(None, 404, "Malformed request")
        signature = request["signature_name"]
        known = MODELS[name].signatures if name in MODELS else {}
        specs = known[signature].structured_input_signature[1] if signature in known else {}
        inputs = {
            key: tf.constant(decode(value), specs[key].dtype)
            for key, value in request["inputs"].items()
            if key in specs
        }
        outputs = {key: encode(key, value) for key, value in run(name, signature, inputs).items()}
        # TensorFlow Serving leaves the name of a single output away.
        return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}

    def log_message(self, *arguments):
        pass


def decode(value):
    if isinstance(value, list):
        return [decode(one) for one in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def encode(name, value):
    if value.dtype != object:
        return value.tolist()
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(one).decode()} for one in np.ravel(value)]
    return [one.decode() for one in np.ravel(value)]


def grpc_server(port):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


faults = Faults()
rest = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rest)
threading.Thread(target=rest.serve_forever, daemon=True).start()
server, port = grpc_server(0)
print(json.dumps({"grpc": f"127.0.0.1:{port}", "rest": f"127.0.0.1:{rest.server_port}"}), flush=True)
while True:
    faults.restart.wait()
    faults.restart.clear()
    server.stop(None)
    time.sleep(0.5)
    server, _ = grpc_server(port)
