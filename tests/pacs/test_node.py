"""The DICOM node, asked by pynetdicom on loopback."""

import argparse
import errno
import os
import queue
import socket
import ssl
import time

import numpy as np
import pydicom
import pytest
import trustme
from pydicom.uid import CTImageStorage, MRImageStorage

from keras_mrisr.commands import dicom_node
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
COMMITMENT = "1.2.840.10008.1.20.1"


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


def test_a_full_disk_puts_no_series_aside(tmp_path, models, series, pacs, monkeypatch, caplog):
    error = DataError("Cannot write it: No space left on device.")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    with node_of(tmp_path, models, pacs[0]) as node:
        upscale = node_module.upscale_each
        monkeypatch.setattr(node_module, "upscale_each", lambda jobs, models: [(jobs[0], error)])
        send(series, Peer("MRISR", "127.0.0.1", node.port), "MR1")
        node.step()
        monkeypatch.setattr(node_module, "upscale_each", upscale)
        node.step()
        assert len(files(tmp_path)) == 3 and pacs[1] == []  # Not before some time has gone by.
        monkeypatch.setattr(node_module, "_RETRY", 0)
        node.step()
    assert "No space left on device. It is tried again in 30 s" in caplog.text
    assert len(pacs[1]) == 3 and files(tmp_path) == []


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


def test_a_port_in_use(tmp_path, mrisr, monkeypatch):
    def load(*_):
        raise AssertionError("A model was loaded before.")

    monkeypatch.setattr("keras_mrisr.commands.model_options.load_models", load)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["--queue", tmp_path / "queue", "--accept", "A@b", "--forward", "P@h:1", "--port", port]
        code, _, err = mrisr("dicom-node", *words)
    assert code == 2 and err.count("\n") == 1
    assert f"Cannot listen on 127.0.0.1:{port}: " in err and "Choose another port" in err


def commit(association, references, transaction="1.2.99"):
    """Asks for Storage Commitment; returns the status."""
    asked = pydicom.Dataset()
    asked.TransactionUID = transaction
    asked.ReferencedSOPSequence = []
    for uid in references:
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MRImageStorage, uid
        asked.ReferencedSOPSequence.append(item)
    return association.send_n_action(asked, 1, COMMITMENT, "1.2.840.10008.1.20.1.1")[0].Status


def uids(files):
    return [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files]


@pytest.fixture
def reports():
    """A queue of reports, and a handler that fills it."""
    got = queue.Queue()

    def take(event):
        got.put((event.event_type, event.event_information))
        return 0x0000, None

    return got, [(pynetdicom.evt.EVT_N_EVENT_REPORT, take)]


def test_storage_commitment_makes_a_series_complete(tmp_path, models, series, pacs, reports):
    got, handlers = reports
    with node_of(tmp_path, models, pacs[0], quiet=1000) as node:
        send(series[:2], Peer("MRISR", "127.0.0.1", node.port), "MR1")
        entity = pynetdicom.AE("MR1")
        entity.add_requested_context(COMMITMENT)
        association = entity.associate("127.0.0.1", node.port, ae_title="MRISR", evt_handlers=handlers)
        assert commit(association, uids(series), "1.2.3.4") == 0x0000
        kind, report = got.get(timeout=30)
        assert (kind, report.TransactionUID) == (2, "1.2.3.4")
        assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == uids(series[:2])
        [lost] = report.FailedSOPSequence
        assert (lost.ReferencedSOPInstanceUID, lost.FailureReason) == (*uids(series[2:]), 0x0112)
        node.step()
        assert pacs[1] == []  # One is still to come.
        send(series[2:], Peer("MRISR", "127.0.0.1", node.port), "MR1")
        assert commit(association, uids(series)) == 0x0000
        kind, report = got.get(timeout=30)
        assert kind == 1 and len(report.ReferencedSOPSequence) == 3 and "FailedSOPSequence" not in report
        wrong = association.send_n_action(None, 2, COMMITMENT, "1.2.840.10008.1.20.1.1")[0]
        assert wrong.Status == 0x0123
        association.release()
        node.step()
    assert len(pacs[1]) == 3 and files(tmp_path) == []
    assert list((tmp_path / "queue/committed").iterdir()) == []


def test_the_report_goes_to_the_port_that_is_told(tmp_path, models, series, reports):
    got, handlers = reports
    entity = pynetdicom.AE("MR1")
    entity.add_supported_context(COMMITMENT, scu_role=False, scp_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        accept = [Peer("MR1", "127.0.0.1", server.socket.getsockname()[1])]
        with node_of(tmp_path, models, 9, quiet=1000, accept=accept) as node:
            send(series, Peer("MRISR", "127.0.0.1", node.port), "MR1")
            association = ask(node.port, contexts=[COMMITMENT])
            assert commit(association, uids(series)) == 0x0000
            association.release()
            kind, report = got.get(timeout=30)
            assert kind == 1 and len(report.ReferencedSOPSequence) == 3
            assert [path.name for path in node.queue.complete(1000)] == ["1.2.3"]
    finally:
        server.shutdown()
    again = Queue(tmp_path / "queue", 10**9)  # Also after a restart, unless more comes.
    assert [path.name for path in again.complete(1000)] == ["1.2.3"]
    again.put(series[0].read_bytes())
    assert list(again.complete(1000)) == []


@pytest.fixture
def certificates(tmp_path):
    """`ca`, the lab's; and the certificates `node`, `mr1` and `pacs` of it, and `stranger` of another."""
    lab, other = trustme.CA(), trustme.CA()
    lab.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, authority in (("node", lab), ("mr1", lab), ("pacs", lab), ("stranger", other)):
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        for pem in issued.cert_chain_pems:
            pem.write_to_path(tmp_path / f"{name}.pem", append=True)

    def contexts(name, ca="ca"):
        """(of a server, of a client) as the options of `mrisr dicom-node` make them."""
        return dicom_node._tls(
            argparse.Namespace(
                certificate=name and tmp_path / f"{name}.pem", key=name and tmp_path / f"{name}.key",
                ca=tmp_path / f"{ca}.pem", forward_tls=True,
            )
        )  # fmt: skip

    return contexts


def test_encrypted_on_both_sides(tmp_path, models, series, certificates, caplog):
    server_tls, client_tls = certificates("node")
    received = []
    entity = pynetdicom.AE("PACS")
    entity.supported_contexts = pynetdicom.AllStoragePresentationContexts
    handlers = [(pynetdicom.evt.EVT_C_STORE, lambda event: received.append(event.dataset) or 0x0000)]
    pacs = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=certificates("pacs")[0]
    )
    port = pacs.socket.getsockname()[1]
    try:
        options = {"server_tls": server_tls, "client_tls": client_tls}
        with (
            node_of(tmp_path, models, port, **options) as node,
            socket.create_connection(("127.0.0.1", node.port)),  # Says nothing, and keeps nobody out.
        ):
            peer = Peer("MRISR", "127.0.0.1", node.port)
            no_certificate = ssl.create_default_context(cafile=tmp_path / "ca.pem")
            for tls in (None, no_certificate, certificates("stranger")[1]):
                with pytest.raises(DataError, match="MRISR@127"):
                    send(series, peer, "MR1", tls)
            assert files(tmp_path) == []
            assert "without a fitting certificate" in caplog.text
            with pytest.raises(DataError, match="does not take a connection"):  # Its certificate is another.
                send(series, peer, "MR1", certificates("mr1", ca="stranger")[1])
            send(series, peer, "MR1", certificates("mr1")[1])
            node.step()
    finally:
        pacs.shutdown()
    assert len(received) == 3 and files(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--certificate", "node.pem"], "--certificate and --key go together"),
        (["--ca", "ca.pem"], "--ca is for encrypted connections"),
        (["--certificate", "ca.pem", "--key", "node.key"], "The certificates cannot be read"),
        (["--certificate", "none.pem", "--key", "node.key"], "The certificates cannot be read"),
        (["--forward-tls", "--ca", "node.key"], "The certificates cannot be read"),
    ],
)
def test_options_of_encryption(tmp_path, certificates, mrisr, monkeypatch, words, part):
    monkeypatch.chdir(tmp_path)
    code, _, err = mrisr("dicom-node", "--queue", "q", "--accept", "A@b", "--forward", "P@h:1", *words)
    assert code == 2 and part in err and err.count("\n") == 1
    assert not (tmp_path / "q").exists()
