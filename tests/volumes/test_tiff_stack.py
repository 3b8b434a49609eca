import io
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image

from keras_mrisr.data import read_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import read_volume
from keras_mrisr.volumes.formats import format_at
from keras_mrisr.volumes.tiff_stack import check_chain

STACK = np.random.default_rng(0).integers(0, 4000, (5, 8, 9)).astype("uint16")  # Slices, rows, columns.


def as_volume(stack):
    """(Z, Y, X) -> (X, Y, Z)."""
    return np.swapaxes(np.moveaxis(stack, 0, 2), 0, 1)


def ome(unit, scale):
    sizes = {"X": 0.5 * scale, "Y": 0.8 * scale, "Z": 3.0 * scale}
    return {
        "axes": "ZYX",
        **{f"PhysicalSize{axis}": size for axis, size in sizes.items()},
        **{f"PhysicalSize{axis}Unit": unit for axis in sizes},
    }


def imagej(unit, spacing, resolution):
    return {
        "imagej": True,
        "resolution": resolution,
        "metadata": {"axes": "ZYX", "spacing": spacing, "unit": unit},
    }


@pytest.mark.parametrize(
    "options",
    [
        imagej("mm", 3.0, (2, 1.25)),
        imagej("cm", 0.3, (20, 12.5)),
        imagej("um", 3000, (0.002, 0.00125)),
        {"ome": True, "metadata": ome("mm", 1)},
        {"ome": True, "metadata": ome("µm", 1000)},
    ],
)
def test_imagej_and_ome_say_how_large_voxels_are(tmp_path, options, caplog):
    tifffile.imwrite(tmp_path / "s.tif", STACK, **options)
    volume = read_volume(tmp_path / "s.tif")
    np.testing.assert_array_equal(volume.array, as_volume(STACK))
    np.testing.assert_allclose(volume.affine, np.diag([-0.5, -0.8, 3, 1]), rtol=1e-6)
    assert caplog.text == ""


@pytest.mark.parametrize("options", [{}, {"metadata": None}, {"imagej": True}, {"compression": "zlib"}])
def test_plain_pages_are_1_mm_large(tmp_path, options, caplog):
    tifffile.imwrite(tmp_path / "s.tif", STACK, photometric="minisblack", **options)
    volume = read_volume(tmp_path / "s.tif")
    np.testing.assert_array_equal(volume.array, as_volume(STACK))
    np.testing.assert_array_equal(volume.affine, np.diag([-1, -1, 1, 1]))
    assert "does not say how large its pixels are" in caplog.text


def test_white_is_zero_and_colours(tmp_path):
    tifffile.imwrite(tmp_path / "w.tif", 65535 - STACK, photometric="miniswhite")
    np.testing.assert_array_equal(read_volume(tmp_path / "w.tif").array, as_volume(STACK))
    colours = np.random.default_rng(0).integers(0, 256, (5, 8, 9, 3)).astype("uint8")
    tifffile.imwrite(tmp_path / "c.tif", colours, photometric="rgb")
    np.testing.assert_array_equal(read_volume(tmp_path / "c.tif").array, as_volume(colours))


@pytest.mark.parametrize("axes", ["TZYX", "ZCYX", None])
def test_several_volumes_ask_for_an_index(tmp_path, axes):
    stacks = np.stack([STACK, STACK + 1])
    stored = np.moveaxis(stacks, 0, 1) if axes == "ZCYX" else stacks
    options = {"imagej": True, "metadata": {"axes": axes}} if axes else {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "s.tif", stored, **options)
    with pytest.raises(MrisrError, match="holds 2 volumes"):
        read_volume(tmp_path / "s.tif")
    for index in (0, 1):
        np.testing.assert_array_equal(read_volume(tmp_path / "s.tif", index).array, as_volume(stacks[index]))


def test_single_images_and_pages_of_several_sizes_are_no_stack(tmp_path):
    tifffile.imwrite(tmp_path / "one.tif", STACK[0])
    pages = [Image.fromarray(STACK[0]), Image.fromarray(STACK[0, :5])]
    pages[0].save(tmp_path / "two.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "text.tif").write_text("II*\0 no")
    for name in ("one.tif", "two.tif", "text.tif"):
        assert format_at(tmp_path / name) is None
    with pytest.raises(MrisrError, match="holds 2 pages"):
        read_image(tmp_path / "two.tif")


def test_a_compression_that_needs_another_package(tmp_path):
    pages = [Image.fromarray(page) for page in STACK]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        with pytest.raises(MrisrError, match=r"is compressed \(LZW\): save it raw"):
            read_volume(tmp_path / "s.tif")
    else:
        np.testing.assert_array_equal(read_volume(tmp_path / "s.tif").array, as_volume(STACK))


def test_a_stack_that_is_cut_off(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", STACK, metadata=None, photometric="minisblack")
    content = (tmp_path / "s.tif").read_bytes()
    (tmp_path / "s.tif").write_bytes(content[:-100])
    with pytest.raises(MrisrError):
        read_volume(tmp_path / "s.tif")


@pytest.mark.parametrize(("following", "circle"), [((30, 52, 0), False), ((30, 52, 30), True), ((8,), True)])
def test_pages_that_go_round_in_a_circle(tmp_path, following, circle):
    """Directories of one tag each, without a file around them: 8 bytes of header, 22 bytes or so each."""
    content = bytearray(74)
    places = (8, 30, 52)[: len(following)]
    for place, next_place in zip(places, following, strict=True):
        content[place : place + 2] = (1).to_bytes(2, "little")
        content[place + 14 : place + 18] = next_place.to_bytes(4, "little")
    tiff = SimpleNamespace(
        tiff=tifffile.TIFF.CLASSIC_LE, pages=SimpleNamespace(first=SimpleNamespace(offset=8))
    )
    if circle:
        with pytest.raises(ValueError, match="round in a circle"):
            check_chain(io.BytesIO(content), tiff)
    else:
        check_chain(io.BytesIO(content), tiff)
