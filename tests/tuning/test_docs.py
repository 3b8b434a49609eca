"""What docs/guides/tuning.md and the scripts beside the code say, tried out."""

import ast
import importlib
import json
import os
import pathlib
import re
import subprocess

import pytest
import yaml

from keras_mrisr.tuning import read_study

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/tuning.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def test_the_study_of_the_guide(tmp_path):
    [text] = blocks("yaml")
    (tmp_path / "my.yaml").write_text(text)
    assert len(read_study(tmp_path / "my.yaml").space.keys) == 5


def test_names_in_the_examples():
    for text in blocks("python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                for name in node.names:
                    assert hasattr(importlib.import_module(node.module), name.name)


@pytest.mark.filterwarnings("ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning")
def test_our_spaces_in_a_build_of_ones_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[-1], "tuning.md", "exec"), {})
    best = ast.literal_eval(capsys.readouterr().out.splitlines()[-1])
    assert {"generator.filters", "training.learning_rate", "training.loss"} <= set(best)
    assert len(list((tmp_path / "own-search").glob("*/trial_*"))) == 2


def test_slurm(tmp_path):
    """The script with stand-ins for Slurm and for us, which write down how they were called."""
    (tmp_path / "bin").mkdir()
    note = "python3 -c 'import json,sys; print(json.dumps(sys.argv[1:]))' \"$@\""
    for name, text in {
        "mrisr": f'{note} >> "$OUT/calls"',
        "srun": 'shift; SLURM_PROCID=0 "$@"; SLURM_PROCID=1 "$@"',
        "hostname": "echo node1",
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "OUT": str(tmp_path)}
    words = ["--data", "my data", "--study", "srresnet"]
    done = subprocess.run(
        ["bash", ROOT / "tuning/slurm.sh", *words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert sorted(calls) == sorted(
        [
            ["tune", *words, "--chief", "node1:20007"],
            ["tune", *words, "--worker", "node1:20007", "--name", "worker0"],
            ["tune", *words, "--worker", "node1:20007", "--name", "worker1"],
        ]
    )


def test_compose():
    services = yaml.safe_load((ROOT / "tuning/compose.yaml").read_text())["services"]
    chief, worker = (services[name]["command"].split() for name in ("chief", "worker"))
    assert chief[:-2] == worker[: len(chief) - 2], "the same words"
    assert chief[-2:] == ["--chief", "0.0.0.0:8000"]
    assert worker[len(chief) - 2 :][:2] == ["--worker", "chief:8000"]
    from keras_mrisr.cli import _build_parser

    for words in (chief, worker):
        _build_parser().parse_args(["tune", *words])
