"""The node and DICOMweb with a real Orthanc on loopback."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pydicom
import pytest

from keras_mrisr.volumes import read_volume

pytest.importorskip("pynetdicom")
ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
pytestmark = pytest.mark.skipif(
    ORTHANC is None or not os.path.exists(PLUGIN), reason="Orthanc with its DICOMweb plugin is not installed"
)
STUDY = "1.2.826.9"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Orthanc:
    def __init__(self, folder, node_port):
        self.web, self.dicom = free_ports(2)
        config = {
            "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.web, "HttpServerEnabled": True, "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True, "RegisteredUsers": {"lab": "secret"},
            "DicomAet": "ORTHANC", "DicomPort": self.dicom, "DicomCheckCalledAet": True,
            "DicomModalities": {"node": ["MRISR", "127.0.0.1", node_port]},
            "Plugins": [PLUGIN], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }  # fmt: skip
        (folder / "orthanc.json").write_text(json.dumps(config))
        with (folder / "orthanc.log").open("w") as log:
            self.process = subprocess.Popen([ORTHANC, folder / "orthanc.json"], stdout=log, stderr=log)
        wait(lambda: self.get("/system"), "Orthanc does not answer")

    def get(self, path, data=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.web}{path}", data)
        request.add_header("Authorization", "Basic bGFiOnNlY3JldA==")
        with urllib.request.urlopen(request, timeout=20) as answer:
            content = answer.read()
        return (
            json.loads(content) if answer.headers["Content-Type"].startswith("application/json") else content
        )

    def series(self):
        """SeriesInstanceUID -> identifier in Orthanc, of the study."""
        found = [self.get(f"/series/{one}") for one in self.get("/series")]
        studies = {
            self.get(f"/studies/{one['ParentStudy']}")["MainDicomTags"]["StudyInstanceUID"] for one in found
        }
        assert studies <= {STUDY}
        return {one["MainDicomTags"]["SeriesInstanceUID"]: one["ID"] for one in found}

    def download(self, uid, folder):
        folder.mkdir()
        for place, one in enumerate(self.get(f"/series/{self.series()[uid]}")["Instances"]):
            (folder / f"{place}.dcm").write_bytes(self.get(f"/instances/{one}/file"))
        return folder

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def wait(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = condition()
        except (urllib.error.URLError, ConnectionError):
            found = None
        if found:
            return found
        time.sleep(0.2)
    pytest.fail(what)


@pytest.fixture
def node_port():
    return free_ports(1)[0]


@pytest.fixture
def orthanc(tmp_path, node_port, dicom_series):
    """Orthanc with a study of two series, which also lie in `one` and `two`."""
    (tmp_path / "orthanc").mkdir()
    server = Orthanc(tmp_path / "orthanc", node_port)
    for number, name in ((1, "one"), (2, "two")):
        array = (np.indices((8, 7, 3)).sum(axis=0) * 20 * number).astype("int16")
        for path in dicom_series(
            tmp_path / name, array, np.eye(4), uid=f"1.2.826.{number}", StudyInstanceUID=STUDY, PatientID="p",
            SeriesNumber=number,
        ):  # fmt: skip
            server.get("/instances", path.read_bytes())
    yield server
    server.stop()


@pytest.fixture
def start_node(tmp_path, models, orthanc, node_port):
    """Starts `mrisr dicom-node` in a process of its own; all are ended."""
    running = []

    def start(quiet):
        words = [
            "dicom-node", "--queue", tmp_path / "queue", "--accept", "ORTHANC@127.0.0.1", "--forward",
            f"ORTHANC@127.0.0.1:{orthanc.dicom}", "--port", node_port, "--model", models["grey"],
            "--quiet-time", quiet,
        ]  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", "keras_mrisr", *map(str, words)], stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        for line in process.stdout:
            if "Ctrl-C stops it" in line:
                return process
        pytest.fail("the node did not start")

    yield start
    for process in running:
        if process.poll() is None:
            process.terminate()
        process.wait(60)
        process.stdout.close()


def same_as_upscale(mrisr, tmp_path, source, derived, model):
    assert mrisr("upscale", tmp_path / source, tmp_path / f"{source}-sr", "--model", model)[0] == 0
    expected, got = read_volume(tmp_path / f"{source}-sr"), read_volume(derived)
    np.testing.assert_array_equal(got.array, expected.array)
    np.testing.assert_allclose(got.affine, expected.affine)
    header = pydicom.dcmread(next(derived.iterdir()))
    assert (header.StudyInstanceUID, header.PatientID) == (STUDY, "p")


def test_through_the_node_and_back_although_it_is_killed(orthanc, start_node, mrisr, models, tmp_path):
    node = start_node(quiet=1000)
    before = orthanc.series()
    for identifier in before.values():
        orthanc.get("/modalities/node/store", identifier.encode())
    received = [path.name for path in (tmp_path / "queue/incoming").rglob("*.dcm")]
    assert len(received) == 6
    node.send_signal(signal.SIGKILL)
    node.wait(30)
    start_node(quiet=0)
    wait(
        lambda: len(orthanc.series()) == 4 and not any((tmp_path / "queue/outgoing").iterdir()),
        "nothing came back",
    )
    new = sorted(set(orthanc.series()) - set(before))
    numbers = {}
    for place, uid in enumerate(new):
        folder = orthanc.download(uid, tmp_path / f"new{place}")
        numbers[pydicom.dcmread(next(folder.iterdir())).SourceImageSequence[0].ReferencedSOPInstanceUID] = (
            folder
        )
    for source in ("one", "two"):
        instances = {pydicom.dcmread(path).SOPInstanceUID for path in (tmp_path / source).iterdir()}
        [derived] = [folder for uid, folder in numbers.items() if uid in instances]
        same_as_upscale(mrisr, tmp_path, source, derived, models["grey"])
    assert not list((tmp_path / "queue").rglob("*.dcm"))


def test_over_dicomweb(orthanc, mrisr, models, tmp_path, monkeypatch):
    pytest.importorskip("dicomweb_client")
    url = f"http://127.0.0.1:{orthanc.web}/dicom-web"
    words = ["upscale", "--dicomweb", url, "--study", STUDY, "--model", models["grey"]]
    code, _, err = mrisr(*words)
    assert code == 2 and "answers with status 401" in err
    (tmp_path / "user").write_text("lab:secret\n")
    code, out, err = mrisr(*words, "--series", "1.2.826.2", "--user-file", tmp_path / "user")
    assert (code, err) == (0, "") and f"Stored 1 derived series in study {STUDY}" in out
    [new] = set(orthanc.series()) - {"1.2.826.1", "1.2.826.2"}
    same_as_upscale(mrisr, tmp_path, "two", orthanc.download(new, tmp_path / "new"), models["grey"])
    monkeypatch.setenv("MRISR_DICOMWEB_USER", "lab:secret")
    for more, part in (
        (["--study", "1.2.3"], "has no study 1.2.3"),
        (["--series", "1.2.3"], "has no series 1.2.3: nothing to upscale"),
    ):
        code, _, err = mrisr(*words, *more)
        assert code == 2 and part in err and err.count("\n") == 1


def test_a_storage_commitment_of_orthanc(orthanc, start_node, tmp_path):
    """Orthanc takes reports on its own port, as scanners do."""
    start_node(quiet=1000)
    before = orthanc.series()
    asked = {"Resources": [before["1.2.826.1"]], "StorageCommitment": True}
    job = orthanc.get("/modalities/node/store", json.dumps(asked).encode())
    transaction = job["StorageCommitmentTransactionUID"]

    def answered():
        report = orthanc.get(f"/storage-commitment/{transaction}")
        return report if report["Status"] != "Pending" else None

    report = wait(answered, "no report")
    assert report["Status"] == "Success" and len(report["Success"]) == 3 and report["Failures"] == []
    wait(lambda: len(orthanc.series()) == 3, "nothing came back")


def test_a_server_that_takes_one_series_and_refuses_the_other(orthanc, mrisr, models, monkeypatch):
    pytest.importorskip("dicomweb_client")
    from keras_mrisr.pacs.dicomweb import DicomWeb

    store, calls = DicomWeb.store, []

    def refuse(self, study, files):
        calls.append(files)
        if len(calls) == 2:
            self._client = DicomWeb(self.url)._client  # Without the password.
        store(self, study, files)

    monkeypatch.setattr(DicomWeb, "store", refuse)
    monkeypatch.setenv("MRISR_DICOMWEB_USER", "lab:secret")
    url = f"http://127.0.0.1:{orthanc.web}/dicom-web"
    code, out, err = mrisr("upscale", "--dicomweb", url, "--study", STUDY, "--model", models["grey"])
    assert code == 1 and "Stored 1 derived series" in out, err
    assert err.splitlines()[-1].startswith("mrisr: error: 1 series could not be upscaled.")
    assert "answers with status 401" in err.splitlines()[-1]
    assert len(orthanc.series()) == 3


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--dicomweb", "ftp://x", "--study", "1"], "is given as a URL"),
        (["--dicomweb", "http://127.0.0.1:9/x", "--study", "1"], "does not answer (ConnectionError)"),
        (["--dicomweb", "http://127.0.0.1:9/x"], "give --study UID"),
        (["--study", "1"], "--study is for a DICOMweb server: give --dicomweb"),
        (["--dicomweb", "http://127.0.0.1:9/x", "--study", "1", "--figure", "x.png"], "is for one series"),
        (["--dicomweb", "http://127.0.0.1:9/x", "--study", "1", "--overwrite"], "--overwrite is for files"),
        ([], "IN and OUT are missing, or --dicomweb and --study"),
    ],
)
def test_what_is_refused(mrisr, models, words, part):
    code, _, err = mrisr("upscale", *words, "--model", models["grey"])
    assert code == 2 and part in err and err.count("\n") == 1


def test_a_secret_is_not_sent_in_the_open(mrisr, models, monkeypatch):
    monkeypatch.setenv("MRISR_DICOMWEB_TOKEN", "secret")
    code, _, err = mrisr("upscale", "--dicomweb", "http://pacs/x", "--study", "1", "--model", models["grey"])
    assert code == 2 and "without encryption" in err and "secret" not in err
