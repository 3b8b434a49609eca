import concurrent.futures
import http.server
import socket
import threading
import time

import numpy as np
import pytest

from keras_mrisr.data import write_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.export import ServingClient, ServingSuperResolver
from keras_mrisr.inference import SuperResolver

TRANSPORTS = ("grpc", "rest")
SHAPE = (1, 2, 2)  # Channels and factors of the grey model.


@pytest.fixture(scope="module")
def local(trained):
    return {name: SuperResolver.load(folder) for name, folder in trained.items()}


def slices(count, *sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((*sizes[i % len(sizes)], 1), dtype="float32") for i in range(count)]


def check_results(images, results, local):
    assert len(results) == len(images)
    for image, result in zip(images, results, strict=True):
        expected = local["grey"].generator.predict_on_batch(image[np.newaxis])[0]
        np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_results_are_those_of_the_network_here(server, local, transport):
    images = slices(7, (9, 12), (16, 8), (5, 5))
    with ServingClient(server[transport], transport=transport, batch=2) as client:
        check_results(images, client.upscale(images, SHAPE), local)


def test_requests_are_of_equal_shape_and_concurrent(server):
    server["tell"](delay=0.3)
    with ServingClient(server["grpc"], at_once=3, batch=2) as client:
        client.upscale(slices(8, (6, 8), (6, 9)), SHAPE)
    requests = server["tell"]()
    assert sorted(request["shapes"][0] for request in requests) == [[2, 6, 8, 1]] * 2 + [[2, 6, 9, 1]] * 2
    assert max(request["under_way"] for request in requests) == 3


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_server_that_merges_what_does_not_fit(server, local, transport):
    images = slices(6, (6, 8), (7, 9))
    server["tell"](merge=True)
    with ServingClient(server[transport], transport=transport, at_once=1, batch=2) as client:
        check_results(images, client.upscale(images, SHAPE), local)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_closing_does_not_wait_for_the_server(server, transport):
    client = ServingClient(server[transport], transport=transport)
    client.describe()
    server["tell"](delay=30)
    failed = []

    def upscale():
        try:
            client.upscale(slices(3, (6, 8)), SHAPE)
        except (MrisrError, concurrent.futures.CancelledError) as error:
            failed.append(error)

    thread = threading.Thread(target=upscale)
    thread.start()
    time.sleep(0.5)
    client.close()
    thread.join(10)
    assert failed and not thread.is_alive()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_failures_are_tried_again(server, local, transport):
    images = slices(6, (6, 8))
    with ServingClient(server[transport], transport=transport, batch=1) as client:
        server["tell"](fail=3)
        check_results(images, client.upscale(images, SHAPE), local)
    assert len(server["tell"]()) == 9


def test_restart_of_the_server(server, local):
    images = slices(12, (6, 8))
    with ServingClient(server["grpc"], batch=1, at_once=2) as client:
        client.describe()
        server["tell"](restart=5, delay=0.05)
        check_results(images, client.upscale(images, SHAPE), local)
    assert len(server["tell"]()) > 12  # Some had to be sent twice.


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_resolver_does_as_the_one_here(server, local, smooth_image, transport):
    image = smooth_image(20, 13, 3, "uint16") // 16
    with ServingClient(server[transport], "rgb", transport) as client:
        resolver = ServingSuperResolver(client)
        assert resolver.info.scale == 2
        np.testing.assert_allclose(resolver(image), local["rgb"](image), atol=1)
        ensembled = resolver(image, ensemble=True)
        np.testing.assert_allclose(ensembled, local["rgb"](image, ensemble=True), atol=1)


def test_large_slices_go_in_tiles(server, local, smooth_image, monkeypatch):
    monkeypatch.setattr("keras_mrisr.export.client._PIXELS", 30 * 30)
    image = smooth_image(50, 44)
    with ServingClient(server["grpc"]) as client:
        np.testing.assert_array_equal(ServingSuperResolver(client)(image), local["grey"](image))
    requests = server["tell"]()
    assert len(requests) == 4
    assert max(np.prod(request["shapes"][0]) for request in requests) <= 30 * 30


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def silent_port():
    """A server that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_bad_servers(server, silent_port, transport):
    def refused(message, address=server[transport], name="mrisr", **options):
        with (
            ServingClient(address, name, transport, **options) as client,
            pytest.raises(MrisrError, match=message) as caught,
        ):
            client.describe()
        assert "\n" not in str(caught.value)

    refused(r"gave no answer within \d s .*Is TensorFlow Serving up there", free_port(), deadline=0.5)
    refused(r"gave no answer within 1 s \(no answer in time\)", silent_port, deadline=0.7)
    refused(r"refuses \(Servable not found.*must serve a model 'nothing' that mrisr", name="nothing")
    refused(r"refuses \(Serving signature name: \"describe\" not found", name="foreign")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_slow_server(server, transport):
    with ServingClient(server[transport], transport=transport, deadline=0.6) as client:
        client.describe()
        server["tell"](delay=2)
        with pytest.raises(MrisrError, match=r"gave no answer within 1 s.*allow a longer `deadline`"):
            client.upscale(slices(3, (6, 8)), SHAPE)


def test_server_that_is_no_tensorflow_serving():
    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>It works</html>")

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with (
            ServingClient(f"127.0.0.1:{server.server_port}", transport="rest") as client,
            pytest.raises(MrisrError, match="it answers, but not as TensorFlow Serving does"),
        ):
            client.describe()


def test_bad_servers_on_the_command_line(mrisr, server, listing, tmp_path, smooth_image):
    write_image(tmp_path / "in/a.png", smooth_image(8, 9))

    def refused(message, *words):
        before = listing(tmp_path)
        code, _, err = mrisr("serve-client", "upscale", tmp_path / "in", tmp_path / "out", *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err
        assert listing(tmp_path) == before

    refused("Is TensorFlow Serving up there?", "--server", free_port(), "--deadline", "0.3")
    refused("must serve a model 'brain'", "--server", server["rest"], "--rest", "--name", "brain")
    refused("takes 3 channel(s)", "--server", server["grpc"], "--name", "rgb")
    refused("--server must be HOST:PORT", "--server", "localhost", "--rest")
    refused("not allowed with argument", "--server", server["rest"], "--rest", "--grpc")
    server["tell"](delay=2)
    refused("allow a longer --deadline", "--server", server["grpc"], "--deadline", "0.5")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_answers_nan(mrisr, server, listing, inputs, transport):
    folder, targets = inputs
    before = listing(folder)
    server["tell"](nan=True)
    for source, target in targets.items():
        words = ["--server", server[transport], f"--{transport}", "--nan", "zero"]
        code, _, err = mrisr("serve-client", "upscale", folder / source, folder / target, *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert f"mrisr on {server[transport]} gives 288 NaN or infinite values, first in slice 0" in err
        assert listing(folder) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"server": "localhost"}, "must be HOST:PORT.*'localhost'"),
        ({"server": "localhost:http"}, "must be HOST:PORT"),
        ({"server": "localhost:99999"}, "must be HOST:PORT"),
        ({"server": "http://localhost:8501"}, "must be HOST:PORT"),
        ({"transport": "carrier pigeon"}, "`transport` must be one of grpc, rest"),
        ({"deadline": 0}, "`deadline` must be positive"),
        ({"at_once": 0}, "`at_once` must be positive"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(MrisrError, match=message):
        ServingClient(**{"server": "localhost:8500", **arguments})
