"""Foreign pixels are decoded where neither a broken file nor a broken decoder does harm."""

import io
import json
import struct
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from pydicom import uid

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import read_volume
from keras_mrisr.volumes.dicom import decoder, pixels

SHAPE = (40, 32, 3)


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 1000, SHAPE).astype("int16")


@pytest.fixture
def compressed(tmp_path, dicom_series, noise, axial):
    """The paths of a compressed series."""
    return dicom_series(tmp_path / "in", noise, axial, uid.RLELossless)


def refused(folder, *parts):
    with pytest.raises(MrisrError) as caught:
        read_volume(folder)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


class Panic(BaseException):
    """As the decoders in Rust raise it: no Exception."""


def program(monkeypatch, tmp_path, text):
    """Puts a program of one's own in the place of the decoder's."""
    path = tmp_path / "program.py"
    path.write_text(text)
    monkeypatch.setattr(decoder, "__file__", str(path))


def test_a_panic_is_one_line(compressed, tmp_path, monkeypatch):
    program(monkeypatch, tmp_path, f"""
import sys
sys.path.insert(0, {str(decoder.__file__.rsplit("/", 1)[0])!r})
import decoder, pydicom
class Panic(BaseException): pass
def panic(*_): raise Panic("called `unwrap()` on a `None` value\\nnote: run with RUST_BACKTRACE=1")
pydicom.Dataset.pixel_array = property(panic)
decoder.main()
""")  # fmt: skip
    refused(compressed[0].parent, compressed[0].name, "cannot be read (called `unwrap()` on a `None` value)")


def test_a_panic_without_a_child_process_is_one_line(compressed, monkeypatch):
    def panic(_):
        raise Panic("called `unwrap()` on a `None` value\nnote: run with RUST_BACKTRACE=1")

    monkeypatch.setattr(sys, "executable", "")
    monkeypatch.setattr(pydicom.Dataset, "pixel_array", property(panic))
    refused(compressed[0].parent, compressed[0].name, "cannot be read (called `unwrap()` on a `None` value)")


def test_without_a_child_process_pixels_are_the_same(compressed, noise, monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    np.testing.assert_array_equal(read_volume(compressed[0].parent).array, noise)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import os; os.abort()", "its decoder ended with code -6"),
        ("raise SystemExit(3)", "its decoder ended with code 3"),
        ('print(\'{"error": "no such luck"}\')', "no such luck"),
        (
            'import sys; sys.stdin.buffer.read(8); print(\'{"dtype": "<i2", "shape": [32, 40]}\')',
            "its decoder ended early",
        ),
        ('print(\'{"dtype": "<i2", "shape": [3200, 4000]}\')', "they are 25600000 bytes, and should be 2560"),
    ],
)
def test_a_decoder_that_ends_or_lies_is_one_line(compressed, tmp_path, monkeypatch, text, said):
    program(monkeypatch, tmp_path, text)
    refused(compressed[0].parent, f"The pixels of {compressed[0]} cannot be read ({said})")


def test_a_decoder_that_never_ends_is_ended(compressed, tmp_path, monkeypatch):
    program(monkeypatch, tmp_path, "import time; time.sleep(1000)")
    monkeypatch.setattr(pixels, "_LONGEST", 0.2)
    refused(compressed[0].parent, "its decoder ended with code -9")


def test_the_child_process_ends_with_the_reading(compressed, monkeypatch):
    started, start = [], pixels._started
    monkeypatch.setattr(pixels, "_started", lambda: started.append(start()) or started[-1])
    read_volume(compressed[0].parent)
    (child,) = started  # One for all files.
    assert child.poll() is not None


@pytest.mark.parametrize(
    ("syntax", "change", "said"),
    [
        (uid.RLELossless, {"Rows": 5000, "Columns": 6000}, "bytes cannot hold the 60000000 that its header"),
        (uid.JPEG2000Lossless, {"Rows": 33}, "they are 40x32 pixels, and not 40x33"),
        (uid.JPEG2000Lossless, {"Columns": 60000}, "they are 40x32 pixels, and not 60000x32"),
    ],
)
def test_a_size_that_does_not_fit_is_found_before_the_decoder_is_called(
    tmp_path, dicom_series, edit_dicom, noise, axial, monkeypatch, syntax, change, said
):
    def never():
        raise AssertionError("the decoder was called")

    for path in dicom_series(tmp_path, noise, axial, syntax):
        edit_dicom(path, lambda dataset: [setattr(dataset, *one) for one in change.items()])
    monkeypatch.setattr(pixels, "_started", never)
    refused(tmp_path, said)


def jpeg(marker, rows, columns, before=b""):
    return b"\xff\xd8" + before + bytes([0xFF, marker]) + struct.pack(">HBHHB", 11, 8, rows, columns, 1)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (jpeg(0xC0, 24, 32), (24, 32)),
        (jpeg(0xC3, 24, 32, b"\xff\xff\xe0\x00\x04ab"), (24, 32)),  # Fill, and a segment before it.
        (jpeg(0xF7, 513, 300), (513, 300)),
        (b"\xff\x4f\xff\x51\x00\x2f\x00\x00" + struct.pack(">4I", 40, 30, 8, 6) + bytes(20), (24, 32)),
        (jpeg(0xC4, 24, 32), None),  # Tables.
        (b"\xff\xd8\xff\xe0\xff\xff", None),
        (bytes(64), None),
        (b"", None),
    ],
)
def test_the_size_that_a_stream_says(content, size):
    assert pixels._said_size(content) == size


def test_a_frame_too_few(tmp_path, enhanced_series, edit_dicom, noise, axial):
    path = enhanced_series(tmp_path / "in", noise.astype("uint16"), axial)
    edit_dicom(path, lambda dataset: dataset.compress(uid.RLELossless, generate_instance_uid=False))
    np.testing.assert_array_equal(read_volume(path).array, noise)

    def drop(dataset):
        frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=3))
        dataset.PixelData = pydicom.encaps.encapsulate(frames[:2])

    edit_dicom(path, drop)
    refused(path, "The pixels of", "there are 2 frames, and should be 3")


def test_a_syntax_without_a_decoder(compressed, edit_dicom):
    for path in compressed:
        edit_dicom(path, lambda dataset: setattr(dataset.file_meta, "TransferSyntaxUID", uid.MPEG2MPML))
    refused(compressed[0].parent, "cannot be read (nothing decodes MPEG2 Main Profile")


def test_the_program_answers_each_file(compressed, noise):
    contents = [compressed[0].read_bytes(), b"no DICOM", compressed[1].read_bytes()]
    sent = b"".join(struct.pack("<Q", len(content)) + content for content in contents)
    done = subprocess.run(
        [sys.executable, "-P", decoder.__file__], input=sent, capture_output=True, check=True
    )
    answers = io.BytesIO(done.stdout)
    for place in (0, None, 1):
        answer = json.loads(answers.readline())
        if place is None:
            assert list(answer) == ["error"]
            continue
        assert answer == {"dtype": "<i2", "shape": [32, 40]}
        values = np.frombuffer(answers.read(2 * 32 * 40), "<i2").reshape(32, 40)
        np.testing.assert_array_equal(values, noise[:, :, place].T)
    assert not answers.read()
