"""How a command ends, and how it words what the library says."""

import inspect
import logging
import os
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from keras_mrisr import cli, errors


def parser(*words):
    return cli._build_parser().parse_args(words).parser


UPSCALE = ("upscale", "a.png", "b.png")
TRAIN = ("train", "--out", "run")


@pytest.mark.parametrize(
    ("words", "message", "shown"),
    [
        (UPSCALE, "Choose one with `volume_index` 0 to 3.", "Choose one with --volume-index 0 to 3."),
        (UPSCALE, "Or pass `overwrite=True`.", "Or pass --overwrite."),
        (UPSCALE, "`plane='axial'` or `plane=\"axial\"`", "--plane axial or --plane axial"),
        (UPSCALE, "Received: `volume_index`=9", "Received: --volume-index=9"),
        (UPSCALE, "`source`, `target`", "IN, OUT"),
        (UPSCALE, "`training.batch_size`, `tiles` and `pip install x`", None),
        (TRAIN, "`training.gain`, `adversarial.on=True`", "--set training.gain, --set adversarial.on=True"),
        (("tune",), "`training.epochs=N` or `tuner='random'`", "--fix training.epochs=N or --tuner random"),
        (("serve-client", *UPSCALE, "--server", "h:1"), "or `transport='rest'`", "or --rest"),
    ],
)  # fmt: skip
def test_messages_name_options(words, message, shown):
    assert parser(*words).translate(message) == (shown or message)


@pytest.mark.parametrize(
    "kind", [kind for _, kind in inspect.getmembers(errors, inspect.isclass)], ids=lambda kind: kind.__name__
)
def test_every_error_is_one_line_and_a_code(mrisr, monkeypatch, kind):
    def refuse(*_):
        raise kind("a\x1b[31m`patient_pattern`\nb  c\u202e\udcff")

    monkeypatch.setattr("keras_mrisr.data.read_dataset", refuse)
    code, out, err = mrisr("data", "inspect", "data")
    assert (code, out) == (1 if kind is errors.IncompleteError else 2, "")
    assert err == "mrisr: error: a\\x1b[31m--patient-pattern b  c\\u202e\\udcff\n"


def test_out_of_memory(mrisr, monkeypatch):
    def refuse(*_):
        raise MemoryError("Unable to allocate 5 GiB")

    monkeypatch.setattr("keras_mrisr.data.read_dataset", refuse)
    code, _, err = mrisr("data", "inspect", "data")
    assert (code, err) == (2, "mrisr: error: Out of memory. Unable to allocate 5 GiB\n")


def test_control_characters_of_data_are_shown_as_text(mrisr, tmp_path):
    (tmp_path / "a\x1b[2J.png").write_text("no image")
    code, out, err = mrisr("data", "inspect", tmp_path)
    assert code == 1 and "1 file could not be read" in err
    assert "\x1b" not in out + err and "\\x1b[2J" in out


def test_log_lines_are_translated_and_stay_one_line(mrisr, monkeypatch):
    def warn(*_):
        logging.getLogger("keras_mrisr.data").warning("leave out `kind`:\n%s", "\x07")
        raise errors.DataError("no")

    monkeypatch.setattr("keras_mrisr.data.read_dataset", warn)
    assert mrisr("data", "inspect", "data")[2] == "leave out --kind: \\x07\nmrisr: error: no\n"


def test_libraries_do_not_speak_before_the_error(mrisr, tmp_path):
    (tmp_path / "half.tif").write_bytes(b"II*\0\x08\0\0\0\x09\0")
    image = nibabel.Nifti1Image(np.ones((4, 4, 4), "uint8"), None)
    content = bytearray(image.to_bytes())
    content[70:72] = (1234).to_bytes(2, "little")  # A code of no data type.
    (tmp_path / "odd.nii").write_bytes(content)
    for name, out in (("half.tif", "a.tif"), ("odd.nii", "a.nii")):
        code, _, err = mrisr("upscale", tmp_path / name, tmp_path / out)
        assert (code, err.count("\n")) == (2, 1), err


@pytest.mark.parametrize("unbuffered", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("words", [["train", "--help"], ["models"], []])
def test_a_reader_that_goes(words, unbuffered):
    """`mrisr ... | head -1`, with a reader that is gone from the start."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"} | unbuffered
    words = [sys.executable, "-m", "keras_mrisr", *words]
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, env=environment, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["train", "--out", "run", "--learn-rate", "1"], "train"),
        (["data", "inspect", "a", "--sheets"], "data inspect"),
        (["upscale", "a", "b", "c"], "upscale"),
        (["train"], "train"),
        (["tunes"], ""),
    ],
)
def test_a_wrong_option_points_to_the_help_of_its_command(mrisr, words, command):
    code, _, err = mrisr(*words)
    name = f"mrisr {command}".strip()
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"{name}: error: ") and err.endswith(f"(see {name} --help)\n")
