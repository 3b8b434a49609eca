"""Encrypted connections to a server, and who may use it; on loopback, with an authority of their own."""

import concurrent.futures
import http.server
import json
import ssl
import threading

import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.export import ServingClient, transports

trustme = pytest.importorskip("trustme")
INFO = {"scale": 2}


class Certificates:
    """Files of a CA, of a client, and of a CA that nobody trusts."""

    def __init__(self, folder):
        self.authority, other = trustme.CA(), trustme.CA()
        client = self.authority.issue_cert("reader@example.org")
        self.server = self.authority.issue_cert("localhost", "127.0.0.1")
        self.ca, self.other, self.certificate, self.key = (
            str(folder / name) for name in ("ca.pem", "other.pem", "client.pem", "client.key")
        )
        self.authority.cert_pem.write_to_path(self.ca)
        other.cert_pem.write_to_path(self.other)
        client.cert_chain_pems[0].write_to_path(self.certificate)
        client.private_key_pem.write_to_path(self.key)

    @property
    def own(self):
        return {"ca": self.ca, "certificate": self.certificate, "key": self.key}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def rest(certificates):
    """(https://host:port, list of the tokens that it was sent); asks for a client's certificate."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.headers["Authorization"])
            body = json.dumps({"outputs": [json.dumps(INFO)]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.server.configure_cert(context)
    certificates.authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *arguments: None  # Clients that it refuses.
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def grpc_server(certificates):
    """As `rest`, over gRPC."""
    grpc = pytest.importorskip("grpc")
    tf = pytest.importorskip("tensorflow")
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    from tensorflow_serving.apis import predict_pb2

    seen = []

    class Service(apis.PredictionServiceServicer):
        def Predict(self, request, context):
            seen.append(dict(context.invocation_metadata()).get("authorization"))
            answer = predict_pb2.PredictResponse(model_spec=request.model_spec)
            answer.outputs["info"].CopyFrom(tf.make_tensor_proto([json.dumps(INFO)]))
            return answer

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    apis.add_PredictionServiceServicer_to_server(Service(), server)
    own = certificates.server
    secret = grpc.ssl_server_credentials(
        [(own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())],
        certificates.authority.cert_pem.bytes(),
        require_client_auth=True,
    )
    port = server.add_secure_port("127.0.0.1:0", secret)
    server.start()
    yield f"https://127.0.0.1:{port}", seen
    server.stop(None).wait()


@pytest.fixture(params=["rest", "grpc"])
def secure(request):
    """(transport, server, tokens that it was sent)."""
    return request.param, *request.getfixturevalue("rest" if request.param == "rest" else "grpc_server")


def test_certificates_and_token(secure, certificates):
    transport, server, seen = secure
    with ServingClient(server, transport=transport, token="secret", **certificates.own) as client:
        assert client.describe() == INFO
    assert seen[-1] == "Bearer secret"
    with ServingClient(server, transport=transport, **certificates.own) as client:
        assert client.describe() == INFO
    assert seen[-1] is None


def test_a_server_of_another_authority_is_refused(secure, certificates):
    transport, server, seen = secure
    before = len(seen)
    trust = {**certificates.own, "ca": certificates.other}
    with (
        ServingClient(server, transport=transport, token="secret", deadline=20, **trust) as client,
        pytest.raises(MrisrError, match=r"refuses: (its certificate is not trusted|no encrypted connection)"),
    ):
        client.describe()
    assert len(seen) == before


def test_a_client_without_certificate_is_refused(secure, certificates):
    transport, server, seen = secure
    before = len(seen)
    with (
        ServingClient(server, transport=transport, deadline=2, ca=certificates.ca) as client,
        pytest.raises(MrisrError, match=r"https://127\.0\.0\.1"),
    ):
        client.describe()
    assert len(seen) == before


def test_answers_are_bounded(rest, certificates, monkeypatch):
    monkeypatch.setattr(transports, "_LARGEST_TEXT", 20)
    with (
        ServingClient(rest[0], transport="rest", **certificates.own) as client,
        pytest.raises(MrisrError, match="more than 20 bytes"),
    ):
        client.describe()


def test_bad_arguments(certificates, tmp_path):
    def refused(message, server="https://localhost:1", **options):
        with pytest.raises(MrisrError, match=message):
            ServingClient(server, transport="rest", **options)

    refused("needs its key", certificate=certificates.certificate)
    refused(r"nothing\.pem does not exist", ca=str(tmp_path / "nothing.pem"))
    (tmp_path / "empty.pem").write_text("no certificate")
    refused(r"empty\.pem holds no usable certificate", ca=str(tmp_path / "empty.pem"))
    refused(
        "Certificates are for an encrypted connection: https://localhost:1", "localhost:1", ca=certificates.ca
    )
    refused("A token would be readable on its way", "gpu:8501", token="secret")
    ServingClient("localhost:1", transport="rest", token="secret").close()


def test_on_the_command_line(rest, certificates, mrisr, tmp_path, smooth_image, monkeypatch):
    from keras_mrisr.data import write_image

    server, seen = rest
    write_image(tmp_path / "slice.png", smooth_image(12, 12, 1))
    words = [
        "serve-client",
        "upscale",
        tmp_path / "slice.png",
        tmp_path / "sr.png",
        "--rest",
        "--server",
        server,
    ]
    words += ["--ca", certificates.ca, "--certificate", certificates.certificate, "--key", certificates.key]
    (tmp_path / "token").write_text("from-file\n")
    # What answers here describes no whole model, which is seen after the connection was made.
    code, _, error = mrisr(*words, "--token-file", tmp_path / "token")
    assert (code, seen[-1]) == (2, "Bearer from-file")
    assert "was not exported by mrisr" in error
    monkeypatch.setenv("MRISR_SERVER_TOKEN", "from-environment")
    mrisr(*words)
    assert seen[-1] == "Bearer from-environment"
