"""The recipes of containers hold what the package needs without TensorFlow."""

import pathlib
import re
import runpy
import shutil
import subprocess

import pytest
import setuptools

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "containers"


def names(lines):
    return {re.split(r"[><=\[ ;]", line, maxsplit=1)[0].lower() for line in lines if line and line[0] != "#"}


def test_requirements_are_those_of_the_package_without_tensorflow(monkeypatch):
    given = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", given.update)
    runpy.run_path("setup.py")
    core = names(given["install_requires"]) - {"tensorflow", "tensorboard", "keras"}
    scans = {
        one
        for extra in ("dicom", "formats", "bids", "cluster", "pacs")
        for one in given["extras_require"][extra]
    }
    assert names((FOLDER / "requirements.txt").read_text().splitlines()) == core | names(scans)


def test_dockerfile():
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users and users[-1] not in ("root", "0")
    assert 'ENTRYPOINT ["mrisr"]' in lines
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, FOLDER / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
