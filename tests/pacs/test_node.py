"""The DICOM node, asked by pynetdicom on loopback."""

import errno
import os
import socket
import time

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, MRImageStorage

from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.inference import SuperResolver, upscale_path
from keras_mrisr.pacs import DicomNode, NodeOptions, Peer, node as node_module
from keras_mrisr.pacs.node import send
from keras_mrisr.pacs.queue import Queue, Refused
from keras_mrisr.volumes import read_volume

pynetdicom = pytest.importorskip("pynetdicom")
# pynetdicom 3.0.4 leaves the socket of a connection that was refused or aborted to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def series(tmp_path, dicom_series):
    array = (np.indices((8, 7, 3)).sum(axis=0) * 20).astype("int16")
    return dicom_series(tmp_path / "series", array, np.eye(4), uid="1.2.3", StudyInstanceUID="1.9")


@pytest.fixture
def pacs():
    """A store that keeps what it gets: (port, received data sets)."""
    received = []

    def store(event):
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        received.append(dataset)
        return 0x0000

    entity = pynetdicom.AE("PACS")
    entity.supported_contexts = pynetdicom.AllStoragePresentationContexts
    handlers = [(pynetdicom.evt.EVT_C_STORE, store)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    yield server.socket.getsockname()[1], received
    server.shutdown()


def node_of(tmp_path, models, pacs_port, **options):
    options = {"accept": [Peer("MR1", "127.0.0.1")], "port": 0, "quiet": 0.0, **options}
    forward = Peer("PACS", "127.0.0.1", pacs_port)
    resolver = SuperResolver.load(models["grey"])
    return DicomNode(NodeOptions(tmp_path / "queue", forward=forward, **options), resolver)


def ask(port, title="MR1", called="MRISR", contexts=(MRImageStorage, "1.2.840.10008.1.1")):
    entity = pynetdicom.AE(title)
    for context in contexts:
        entity.add_requested_context(context)
    return entity.associate("127.0.0.1", port, ae_title=called)


def files(tmp_path):
    return sorted(
        path.relative_to(tmp_path / "queue").as_posix() for path in (tmp_path / "queue").rglob("*.dcm")
    )


def test_a_series_goes_through(tmp_path, models, series, pacs):
    port, received = pacs
    upscale_path(tmp_path / "series", tmp_path / "sr", SuperResolver.load(models["grey"]))
    with node_of(tmp_path, models, port) as node:
        send(series, Peer("MRISR", "127.0.0.1", node.port), "MR1")
        assert len(files(tmp_path)) == 3
        node.step()
    assert files(tmp_path) == []
    assert len(received) == 3 and {one.StudyInstanceUID for one in received} == {"1.9"}
    [uid] = {one.SeriesInstanceUID for one in received}
    assert uid != "1.2.3"
    (tmp_path / "got").mkdir()
    for place, dataset in enumerate(received):
        dataset.save_as(tmp_path / f"got/{place}.dcm", enforce_file_format=True)
    got, expected = read_volume(tmp_path / "got"), read_volume(tmp_path / "sr")
    np.testing.assert_array_equal(got.array, expected.array)
    np.testing.assert_allclose(got.affine, expected.affine)


def test_what_was_received_survives_a_restart(tmp_path, models, series, pacs):
    port, received = pacs
    with node_of(tmp_path, models, 9) as node:  # Nobody listens there.
        send(series, Peer("MRISR", "127.0.0.1", node.port), "MR1")
        node.step()
    assert len(files(tmp_path)) == 3 and all(name.startswith("outgoing/") for name in files(tmp_path))
    (tmp_path / "queue/receiving/part.dcm").write_bytes(b"half")
    with node_of(tmp_path, models, port) as node:
        node.step()
    assert files(tmp_path) == [] and len(received) == 3


def test_a_series_is_complete_after_a_quiet_time(tmp_path, models, series, pacs):
    with node_of(tmp_path, models, pacs[0], quiet=1000) as node:
        send(series, Peer("MRISR", "127.0.0.1", node.port), "MR1")
        node.step()
        assert len(files(tmp_path)) == 3 and pacs[1] == []
        for path in (tmp_path / "queue/incoming").rglob("*.dcm"):
            os.utime(path, (time.time() - 2000,) * 2)
        node.step()
    assert len(pacs[1]) == 3


def test_an_instance_that_comes_while_its_series_is_upscaled(tmp_path, models, series, pacs, monkeypatch):
    with node_of(tmp_path, models, pacs[0]) as node:
        upscale, late = node_module.upscale_each, [series[2]]

        def slow(jobs, resolver):
            results = list(upscale(jobs, resolver))
            if late:
                send([late.pop()], Peer("MRISR", "127.0.0.1", node.port), "MR1")
            return results

        monkeypatch.setattr(node_module, "upscale_each", slow)
        send(series[:2], Peer("MRISR", "127.0.0.1", node.port), "MR1")
        node.step()
        assert pacs[1] == []  # What was made of two of three is not sent.
        node.step()
    assert len(pacs[1]) == 3 and files(tmp_path) == []


def test_echo_and_who_may_ask(tmp_path, models, pacs, caplog):
    accept = [Peer("MR1", "127.0.0.1"), Peer("FAR", "10.9.8.7")]
    with node_of(tmp_path, models, pacs[0], accept=accept) as node:
        association = ask(node.port)
        assert association.is_established and association.send_c_echo().Status == 0x0000
        association.release()
        for title, called in (("MR2", "MRISR"), ("FAR", "MRISR"), ("MR1", "OTHER")):
            association = ask(node.port, title, called)
            assert not association.is_established and (association.is_rejected or association.is_aborted)
    assert "a request of MR2 from 127.0.0.1, which is not accepted" in caplog.text
    assert "a request of FAR from 127.0.0.1" in caplog.text


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_what_is_no_whole_mr_image_is_refused(tmp_path, models, series, pacs, caplog):
    with node_of(tmp_path, models, pacs[0]) as node:
        assert not ask(node.port, contexts=[CTImageStorage]).is_established
        association = ask(node.port)
        dataset = pydicom.dcmread(series[0])
        dataset.Modality = "CT"
        assert association.send_c_store(dataset).Status == 0xA900
        dataset = pydicom.dcmread(series[0])
        dataset.PixelData = dataset.PixelData[:-40]
        assert association.send_c_store(dataset).Status == 0xC000
        dataset = pydicom.dcmread(series[0])
        dataset.SeriesInstanceUID = "1.2.x"
        assert association.send_c_store(dataset).Status == 0xC000
        node.queue.limit = 10
        assert association.send_c_store(pydicom.dcmread(series[0])).Status == 0xA700
        association.release()
    assert files(tmp_path) == []
    for words in ("its modality is CT, not MR", "broken or cut off", "identifiers are none", "may hold 10"):
        assert words in caplog.text


def test_a_series_that_cannot_be_upscaled_is_put_aside(tmp_path, models, series, pacs):
    with node_of(tmp_path, models, pacs[0]) as node:
        send([series[0], series[2]], Peer("MRISR", "127.0.0.1", node.port), "MR1")
        node.step()
        node.step()
    assert pacs[1] == []
    assert "lacks slices" in (tmp_path / "queue/failed/1.2.3/reason.txt").read_text()
    assert len(list((tmp_path / "queue/failed/1.2.3").glob("*.dcm"))) == 2


def test_a_full_disk_is_answered(tmp_path, series, monkeypatch):
    queue = Queue(tmp_path / "queue", 10**9)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match="No space left") as refused:
        queue.put(series[0].read_bytes())
    assert refused.value.status == 0xA700 and files(tmp_path) == []


def test_what_is_sent_must_be_taken(series):
    def refuse(event):
        return 0xA700

    entity = pynetdicom.AE("PACS")
    entity.add_supported_context(MRImageStorage)
    handlers = [(pynetdicom.evt.EVT_C_STORE, refuse)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        peer = Peer("PACS", "127.0.0.1", server.socket.getsockname()[1])
        with pytest.raises(DataError, match=r"PACS@127\.0\.0\.1:\d+ refused image\d+ with status 0xA700"):
            send(series, peer, "MRISR")
    finally:
        server.shutdown()
    with pytest.raises(DataError, match="does not take a connection of MRISR"):
        send(series, Peer("PACS", "127.0.0.1", 9), "MRISR")


@pytest.mark.parametrize(
    "text", ["PACS", "PACS@host", "PACS@host:0", "PACS@host:70000", "@host:1", "A" * 17 + "@h:1"]
)
def test_what_is_no_node(text):
    with pytest.raises(ConfigError, match=r"given as AET@HOST:PORT.* Received: "):
        Peer.parse(text, port=True)
    assert str(Peer.parse("MR1@10.0.0.7")) == "MR1@10.0.0.7"
    assert Peer.parse("P@[::1]:104", port=True) == Peer("P", "::1", 104)


def test_a_port_in_use(tmp_path, models):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DataError, match=rf"Cannot listen on 127\.0\.0\.1:{port}: .*Choose another port"):
            node_of(tmp_path, models, 9, port=port).__enter__()
