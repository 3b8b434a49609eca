import io
import logging
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from keras_mrisr.data.image_folder import read_image_folder
from keras_mrisr.data.images import read_image, write_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.memory import memory_limit, resident_memory


def _pixels(dtype, channels, size=(9, 14)):
    generator = np.random.default_rng(0)
    if dtype == "float32":
        return generator.normal(size=(*size, channels)).astype(dtype)
    return generator.integers(0, np.iinfo(dtype).max + 1, (*size, channels)).astype(dtype)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "suffix"),
    [("uint8", ".png"), ("uint8", ".tif"), ("uint16", ".png"), ("uint16", ".TIFF"), ("float32", ".tif")],
)
def test_what_is_written_is_read(tmp_path, dtype, suffix, channels):
    array = _pixels(dtype, channels)
    write_image(tmp_path / f"a{suffix}", array)
    back = read_image(tmp_path / f"a{suffix}")
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    assert os.listdir(tmp_path) == [f"a{suffix}"]


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_close(tmp_path, channels):
    array = np.full((16, 16, channels), 100, "uint8")
    write_image(tmp_path / "a.jpg", array)
    assert read_image(tmp_path / "a.jpg").shape == array.shape
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg"), array, atol=3)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("a.jpg", np.zeros((4, 4, 1), "uint16"), "uint16 pixels"),
        ("a.png", np.zeros((4, 4, 1), "float32"), "float32 pixels"),
        ("a.png", np.zeros((4, 4, 1), "int64"), "int64 pixels"),
        ("a.bmp", np.zeros((4, 4, 1), "uint8"), "known image type"),
        ("a.png", np.zeros((4, 4, 2), "uint8"), r"shape \(4, 4, 2\)"),
        ("a.png", np.zeros((0, 4, 1), "uint8"), "shape"),
    ],
)
def test_what_does_not_fit_is_not_written(tmp_path, name, array, message):
    with pytest.raises(MrisrError, match=message):
        write_image(tmp_path / name, array)
    assert os.listdir(tmp_path) == []


def test_grey_without_a_channel_axis_is_written_too(tmp_path):
    write_image(tmp_path / "a.png", np.ones((3, 4), "uint8"))
    assert read_image(tmp_path / "a.png").shape == (3, 4, 1)


def _deep_png(array):
    """A 16-bit PNG of any channel count, made by hand: (2: grey + alpha, 4: RGB + alpha)."""
    height, width, channels = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)

    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )


def _chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@pytest.mark.parametrize(("stored", "kept"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_png_of_16_bits_keeps_them_and_loses_alpha(tmp_path, caplog, stored, kept):
    array = _pixels("uint16", stored)
    (tmp_path / "a.png").write_bytes(_deep_png(array))
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), array[..., :kept])
    assert ("alpha" in caplog.text) == (stored != kept)


@pytest.mark.parametrize(("mode", "channels"), [("LA", 1), ("RGBA", 3)])
def test_alpha_of_8_bits_is_dropped_and_said(tmp_path, caplog, mode, channels):
    array = _pixels("uint8", len(mode))
    Image.fromarray(array, mode=None).save(tmp_path / "a.png")
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), array[..., :channels])
    assert "alpha channel dropped" in caplog.text


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (_pixels("uint16", 1)[..., 0].astype(">u2"), {"byteorder": ">"}),
        (np.moveaxis(_pixels("uint16", 3), -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        (_pixels("uint16", 3), {"photometric": "rgb", "compression": "zlib"}),
        (_pixels("float32", 1)[..., 0].astype("float64"), {}),
        (np.arange(12, dtype="int16").reshape(3, 4), {}),
    ],
    ids=["big-endian", "planar", "deflate", "float64", "int16"],
)
def test_other_tiffs(tmp_path, array, options):
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    image = read_image(tmp_path / "a.tif")
    assert image.dtype in (np.uint16, np.float32)
    expected = np.moveaxis(array, 0, -1) if "planarconfig" in options else array.reshape(*array.shape[:2], -1)
    np.testing.assert_array_equal(image, expected)


def test_a_palette_of_greys_is_grey_and_of_colours_is_rgb(tmp_path):
    index = Image.fromarray(np.array([[0, 1], [1, 0]], "uint8"), mode=None).convert("P")
    for name, palette in (("grey", [10, 10, 10, 200, 200, 200]), ("rgb", [10, 20, 30, 200, 0, 0])):
        index.putpalette(palette)
        index.save(tmp_path / f"{name}.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png")[..., 0], [[10, 200], [200, 10]])
    np.testing.assert_array_equal(read_image(tmp_path / "rgb.png")[0], [[10, 20, 30], [200, 0, 0]])


def test_one_bit_becomes_0_and_255(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[255], [0]]])


def _tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


_CMYK = io.BytesIO()
Image.new("CMYK", (4, 4)).save(_CMYK, "TIFF")
_LZW = io.BytesIO()
Image.fromarray(_pixels("uint8", 3, (64, 64))).save(_LZW, "TIFF", compression="tiff_lzw")
_JPEG = io.BytesIO()
Image.fromarray(_pixels("uint8", 3, (64, 64))).save(_JPEG, "JPEG")

BROKEN = {
    "empty": (b"", "0 bytes"),
    "text": (b"this is a text file named .tif\n" * 10, "not a PNG, TIFF or JPEG"),
    "tiff magic only": (b"II*\0" + b"\xff" * 40, "its end is missing"),
    "cut tiff": (_tiff(_pixels("uint8", 3, (64, 64)))[:3000], "broken or cut short"),
    "cut lzw tiff": (_LZW.getvalue()[:3000], "its end is missing"),
    "cut lzw tiff in its directory": (_LZW.getvalue()[:-8], "its end is missing"),
    "cut deflated tiff": (_tiff(_pixels("uint16", 1, (64, 64)), compression="zlib")[:-200], "end is missing"),
    "cut 16-bit grey tiff": (_tiff(_pixels("uint16", 1, (64, 64))[..., 0])[:3000], "broken or cut short"),
    "cut 16-bit rgb tiff": (
        _tiff(_pixels("uint16", 3, (64, 64)), photometric="rgb")[:3000],
        "broken or cut short",
    ),
    "cut float rgb tiff": (
        _tiff(_pixels("float32", 3, (64, 64)), photometric="rgb")[:3000],
        "broken or cut short",
    ),
    "cut png": (_deep_png(_pixels("uint16", 3, (64, 64)))[:3000], "broken or cut short"),
    "png header only": (b"\x89PNG\r\n\x1a\n", "not a PNG|broken"),
    "cut jpeg": (_JPEG.getvalue()[:600], "broken or cut short"),
    "nan": (_tiff(np.array([[np.nan, 1]], "float32")), "holds 1 NaN or infinite"),
    "infinite as float32": (_tiff(np.array([[1e300, 1]])), "holds 1 NaN or infinite"),
    "negative": (_tiff(np.array([[-5, 1]], "int16")), "integers from -5 to 1"),
    "negative 8 bit": (_tiff(np.array([[-5, 1]], "int8")), "integers from -5 to 1"),
    "32 bit": (_tiff(np.array([[0, 70000]], "uint32")), "integers from 0 to 70000"),
    "complex": (_tiff(np.zeros((3, 4), "complex64")), "complex64"),
    "pages": (_tiff(np.zeros((5, 8, 9), "uint8"), photometric="minisblack"), "5 pages"),
    "deep pages": (_tiff(np.zeros((5, 8, 9), "float64"), photometric="minisblack"), "5 pages"),
    "cmyk": (_CMYK.getvalue(), "CMYK"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_give_one_line_that_names_them(tmp_path, capfd, case):
    content, message = BROKEN[case]
    (tmp_path / "slice.tif").write_bytes(content)
    with pytest.raises(MrisrError, match=message) as caught:
        read_image(tmp_path / "slice.tif")
    assert str(tmp_path / "slice.tif") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # Nor do the decoders say anything.


def _pillow(array, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF", **options)
    return buffer.getvalue()


_GREY = _pixels("uint16", 1, (32, 48))[..., 0]


@pytest.mark.parametrize(
    "content",
    [
        _pillow(_GREY),
        _pillow(_GREY.astype("uint8"), compression="tiff_lzw"),
        _pillow(_pixels("uint8", 3, (32, 48)), compression="jpeg"),
        _tiff(_GREY, compression="zlib"),
        _tiff(_GREY, rowsperstrip=4),
        _tiff(_GREY, tile=(16, 16)),
        _tiff(_GREY, byteorder=">"),
        _tiff(_GREY, bigtiff=True),
    ],
    ids=["pillow", "lzw", "jpeg", "deflate", "strips", "tiles", "big-endian", "bigtiff"],
)
def test_every_missing_end_of_a_tiff_is_noticed(tmp_path, content):
    path = tmp_path / "a.tif"
    path.write_bytes(content + b"more")
    assert read_image(path).shape[:2] == (32, 48)
    last = 60  # The ends of the pixels and of the directory lie close together in so small a file.
    for size in (*range(4, len(content) - last, 13), *range(len(content) - last, len(content))):
        path.write_bytes(content[:size])
        with pytest.raises(MrisrError, match="its end is missing"):
            read_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", "16.png", "16.tif"])
def test_exif_orientation_is_honoured(tmp_path, suffix, orientation):
    array = np.zeros((16, 24, 3), "uint8")
    array[:4, :6], array[:4, 12:] = 250, (200, 100, 50)
    exif = Image.Exif()
    exif[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(_with_exif(array, exif)))
    path = tmp_path / f"a{suffix}"
    if suffix == "16.tif":
        array, expected = (each.astype("uint16") * 257 for each in (array, expected))
        tifffile.imwrite(path, array, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    elif suffix == "16.png":
        array, expected = (each.astype("uint16") * 257 for each in (array, expected))
        content = _deep_png(array)
        tag = b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHHI", 274, 3, 1, orientation, 0, 0)
        path.write_bytes(content[:33] + _chunk(b"eXIf", tag) + content[33:])
    else:
        Image.fromarray(array).save(path, exif=exif, **({"quality": 95} if suffix == ".jpg" else {}))
    image = read_image(path)
    assert image.shape == expected.shape
    np.testing.assert_allclose(image, expected, atol=60 if suffix == ".jpg" else 0)


def _with_exif(array, exif):
    image = Image.fromarray(array)
    image.info["exif"] = exif.tobytes()
    return image


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("predictor", [False, True])
def test_white_is_zero_is_turned(tmp_path, dtype, compression, predictor):
    array = _pixels(dtype, 1)[..., 0]
    options = {"compression": compression, "predictor": bool(compression and predictor)}
    stored = np.iinfo(dtype).max - array
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", **options)
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == dtype
    np.testing.assert_array_equal(image[..., 0], array)


@pytest.mark.parametrize("dtype", ["float32", "int16", "int8"])
def test_white_is_zero_without_a_black(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 5), dtype), photometric="miniswhite")
    with pytest.raises(MrisrError, match="white is zero, but not which number is black"):
        read_image(tmp_path / "a.tif")


def _promises(kind):
    """Small files whose header says 20,000 x 20,000 pixels."""
    if kind == "png":
        content = bytearray(_deep_png(_pixels("uint16", 1)))
        struct.pack_into(">II", content, 16, 20_000, 20_000)
        struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
        return bytes(content)
    if kind == "jpeg":
        content = bytearray(_JPEG.getvalue())
        struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, 20_000, 20_000)
        return bytes(content)
    content = bytearray(_pillow(_GREY, compression=None if kind == "tiff" else kind))
    for tag in (256, 257):
        # As one short or one long number: by libtiff or by Pillow itself.
        entries = (content.find(struct.pack("<HHI", tag, number, 1)) for number in (3, 4))
        struct.pack_into("<H", content, max(entries) + 8, 20_000)
    return bytes(content)


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_header_that_promises_more_than_the_file_can_hold(tmp_path, kind):
    path = tmp_path / "a.img"
    path.write_bytes(_promises(kind))
    tracemalloc.start()
    try:
        with pytest.raises(MrisrError, match="header says 20000 x 20000 pixels, and the file has"):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_what_does_not_fit_into_memory_is_one_line(tmp_path, monkeypatch):
    def fail(*arguments):
        raise MemoryError

    write_image(tmp_path / "a.png", np.ones((100, 100), "uint8"))
    with memory_limit(resident_memory() - 1), pytest.raises(MrisrError, match="its 100 x 100 pixels take"):
        read_image(tmp_path / "a.png")
    monkeypatch.setattr("keras_mrisr.data.images._from_pillow", fail)
    with pytest.raises(MrisrError, match="does not fit into memory"):
        read_image(tmp_path / "a.png")


def test_pillow_keeps_its_own_limit():
    """It holds for the whole process, which is not ours alone."""
    assert Image.MAX_IMAGE_PIXELS == 89_478_485


def test_an_image_that_pillow_takes_for_an_attack(tmp_path):
    Image.new("1", (90_000, 1_000)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (1_000, 90_000, 1)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(MrisrError, match=r"none\.png does not exist"):
        read_image(tmp_path / "none.png")
    with pytest.raises(MrisrError, match="is a folder"):
        read_image(tmp_path)


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folder_is_the_patient_and_slices_count(tmp_path):
    _touch(tmp_path, "p10/s2.png", "p10/s10.PNG", "p2/deep/1.jpeg", "p2/deep/1_mask.png", "p2/notes.txt")
    _touch(tmp_path, "p2/._hidden.png", ".cache/x.png", "p10/lost_mask.tif")
    dataset = read_image_folder(tmp_path)
    found = [(record.patient, record.path.name, record.index, record.site) for record in dataset.slices]
    assert found == [("p2/deep", "1.jpeg", 0, None), ("p10", "s2.png", 0, None), ("p10", "s10.PNG", 1, None)]
    assert dataset.slices[0].mask == tmp_path / "p2/deep/1_mask.png"
    assert [finding.kind for finding in dataset.findings] == ["unpaired-mask"]
    assert dataset.kind == "images"


def test_files_in_the_root_are_one_patient(tmp_path):
    _touch(tmp_path / "study", "1.png", "2.png")
    assert read_image_folder(tmp_path / "study").patients == ("study",)


def test_pattern_names_patient_and_site(tmp_path):
    _touch(tmp_path, "siteA/anna-1.png", "siteA/anna-2.png", "siteB/bert-1.png")
    assert read_image_folder(tmp_path, r"([a-z]+)-\d").patients == ("anna", "bert")
    dataset = read_image_folder(tmp_path, r"(?P<site>site.)/(?P<patient>[a-z]+)-(\d)")
    assert dataset.sites == {"anna": "siteA", "bert": "siteB"}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "not a regular expression"),
        ("anna", r"give it one \(group\)"),
        ("(a)(b)", r"give it one \(group\)"),
        ("(?P<site>a)", r"give it one \(group\)"),
        ("(anna)", r"bert-1\.png does not match"),
        ("-(.*?)", "does not match"),
        (r"-(?P<patient>\d)(?P<site>.)|(?P<site2>bert)-1.p", "a patient has one site|does not match|puts"),
    ],
)
def test_patterns_that_do_not_fit(tmp_path, pattern, message):
    _touch(tmp_path, "anna-1.png", "bert-1.png")
    with pytest.raises(MrisrError, match=f"(?i){message}"):
        read_image_folder(tmp_path, pattern)


def test_a_patient_of_two_sites_is_refused(tmp_path):
    _touch(tmp_path, "A/x/1.png", "B/x/1.png")
    with pytest.raises(MrisrError, match="a patient has one site"):
        read_image_folder(tmp_path, "(?P<site>.)/(?P<patient>.)/")


@pytest.mark.parametrize("place", [2, 40, -3])
def test_damage_in_a_deflated_tiff_is_said_by_us_alone(tmp_path, capfd, place):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, _GREY, compression="zlib")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        [start], [length] = tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts
    content[start + place % length] ^= 255
    path.write_bytes(content)
    with pytest.raises(MrisrError, match="broken or cut short"):
        read_image(path)
    assert capfd.readouterr().err == ""  # libtiff would write to it, past every log.


def test_what_libtiff_says_of_harmless_tags_stays_off_the_terminal(tmp_path, capfd):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, _GREY, compression="zlib", resolution=(1, 1), resolutionunit=2)
    with tifffile.TiffFile(path) as tiff:
        unit = tiff.pages[0].tags["ResolutionUnit"].valueoffset
    content = bytearray(path.read_bytes())
    content[unit + 1] = 8  # A unit that does not exist: 2050.
    path.write_bytes(content)
    np.testing.assert_array_equal(read_image(path)[..., 0], _GREY)
    assert capfd.readouterr().err == ""
