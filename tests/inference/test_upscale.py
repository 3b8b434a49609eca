import errno

import numpy as np
import pytest
from PIL import Image

from keras_mrisr.data import read_image, write_image
from keras_mrisr.errors import ConfigError, DataError, IncompleteError, MrisrError
from keras_mrisr.inference import SuperResolver, upscale_path
from keras_mrisr.inference.inputs import channels_of, input_at
from keras_mrisr.models.storage import ModelInfo


def nearest(image):
    return image.repeat(2, axis=0).repeat(2, axis=1)


class Nearest:
    """Stands in for a generator; fails on the image numbered `fail_at`."""

    def __init__(self, fail_at=None):
        self.left = fail_at

    def predict_on_batch(self, lr):
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise RuntimeError("out of memory")
        return np.stack([nearest(one) for one in lr])


def resolver(channels=1, fail_at=None):
    return SuperResolver(Nearest(fail_at), ModelInfo(2, channels, generator={}, degradation={}))


@pytest.fixture
def folder(tmp_path, smooth_image):
    """Three grey images, two of the same name."""
    root = tmp_path / "in"
    for seed, name in enumerate(["a/1.png", "b/1.png", "b/deep/2.tif"]):
        write_image(root / name, smooth_image(5, 7, seed=seed))
    return root


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", "uint8"), (".png", "uint16"), (".tif", "uint8"), (".TIFF", "uint16"), (".tif", "float32"),
        (".jpg", "uint8"), (".jpeg", "uint8"),
    ],
)  # fmt: skip
def test_file_to_file(tmp_path, smooth_image, listing, channels, suffix, dtype):
    source, target = tmp_path / f"in{suffix}", tmp_path / "new" / f"out{suffix}"
    write_image(source, smooth_image(5, 8, channels, dtype))
    lr = read_image(source)
    assert upscale_path(source, target, resolver(channels)) == [target]
    sr = read_image(target)
    assert sr.dtype == lr.dtype == dtype
    tolerance = 25 if suffix.startswith(".jp") else 1e-6 if dtype == "float32" else 0
    np.testing.assert_allclose(sr.astype(float), nearest(lr), atol=tolerance)
    assert sorted(listing(tmp_path / "new")) == [target.name]


def test_formats_can_change(tmp_path, smooth_image):
    write_image(tmp_path / "in.tif", smooth_image(5, 8, dtype="uint16"))
    upscale_path(tmp_path / "in.tif", tmp_path / "out.png", resolver())
    with Image.open(tmp_path / "out.png") as image:
        assert (image.format, image.size, image.mode) == ("PNG", (16, 10), "I;16")


def test_file_into_existing_folder(folder, tmp_path):
    (tmp_path / "out").mkdir()
    assert upscale_path(folder / "a/1.png", tmp_path / "out", resolver()) == [tmp_path / "out/1.png"]
    assert (tmp_path / "out/1.png").is_file()


def test_folder_to_folder(folder, tmp_path):
    calls = []
    written = upscale_path(folder, tmp_path / "x/out", resolver(), progress=lambda *n: calls.append(n))
    names = ["a/1.png", "b/1.png", "b/deep/2.tif"]
    assert written == [tmp_path / "x/out" / name for name in names]
    for name in names:
        np.testing.assert_array_equal(
            read_image(tmp_path / "x/out" / name), nearest(read_image(folder / name))
        )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_masks_are_left_out_and_it_is_said(lgg_root, tmp_path, caplog):
    caplog.set_level("INFO", "keras_mrisr")
    written = upscale_path(lgg_root, tmp_path / "out", resolver(3))
    assert len(written) == 21
    assert not list((tmp_path / "out").rglob("*_mask*"))
    assert "21 masks (*_mask files) are left out" in caplog.text


def test_overwrite(folder, tmp_path, listing):
    out = tmp_path / "out"
    upscale_path(folder, out, resolver())
    before = listing(tmp_path)
    for source, target in (
        (folder, out),
        (folder / "a/1.png", out / "a/1.png"),
        (folder / "a/1.png", out / "a"),
    ):
        with pytest.raises(MrisrError, match=r"exists.*overwrite=True"):
            upscale_path(source, target, resolver())
    assert listing(tmp_path) == before
    (out / "a/1.png").write_text("old")
    upscale_path(folder, out, resolver(), overwrite=True)
    assert listing(tmp_path) == before


def test_other_files_are_not_replaced(folder, tmp_path, listing):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.txt").write_text("years of work")
    before = listing(tmp_path)
    with pytest.raises(DataError, match=r"home exists and is not empty.*skip_existing"):
        upscale_path(folder, tmp_path / "home", resolver())
    assert listing(tmp_path) == before
    upscale_path(folder, tmp_path / "home", resolver(), overwrite=True)
    assert sorted(listing(tmp_path / "home")) == [
        "a",
        "a/1.png",
        "b",
        "b/1.png",
        "b/deep",
        "b/deep/2.tif",
        "thesis.txt",
    ]
    assert (tmp_path / "home/thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("in", "in", "is the source itself"),
        ("in", "x/../in", "is the source itself"),
        ("in/a", "in", "holds the source"),
        ("in", "in/out", "lies in the source"),
        ("in/a/1.png", "in/a/1.png", "is the source itself"),
        ("in/a/1.png", "in/a", "is the source itself"),
    ],
)
def test_the_source_is_safe(folder, tmp_path, listing, source, target, message, overwrite):
    (tmp_path / "x").mkdir()
    before = listing(tmp_path)
    with pytest.raises(MrisrError, match=message):
        upscale_path(tmp_path / source, tmp_path / target, resolver(), overwrite=overwrite)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_is_left_of_a_failure(folder, tmp_path, listing, overwrite):
    if overwrite:
        upscale_path(folder / "a/1.png", tmp_path / "new/1.png", resolver())
    before = listing(tmp_path)
    with pytest.raises(RuntimeError, match="out of memory"):
        upscale_path(folder / "a/1.png", tmp_path / "new/1.png", resolver(fail_at=1), overwrite=overwrite)
    assert listing(tmp_path) == before


def test_what_is_done_of_a_folder_stays_and_the_rest_is_made_later(folder, tmp_path, listing, caplog):
    caplog.set_level("INFO", "keras_mrisr")
    with pytest.raises(RuntimeError, match="out of memory"):
        upscale_path(folder, tmp_path / "out", resolver(fail_at=2))
    assert sorted(listing(tmp_path / "out")) == ["a", "a/1.png"]
    first = (tmp_path / "out/a/1.png").stat()
    written = upscale_path(folder, tmp_path / "out", resolver(), skip_existing=True)
    assert written == [tmp_path / "out/b/1.png", tmp_path / "out/b/deep/2.tif"]
    assert (tmp_path / "out/a/1.png").stat() == first
    assert "1 of 3 results are there already" in caplog.text
    assert upscale_path(folder, tmp_path / "out", resolver(fail_at=1), skip_existing=True) == []
    with pytest.raises(ConfigError, match="leave out one"):
        upscale_path(folder, tmp_path / "out", resolver(), skip_existing=True, overwrite=True)


def test_a_bad_file_stops_no_other(folder, tmp_path, listing, smooth_image, caplog):
    write_image(folder / "a/0.png", smooth_image(5, 7, 3))
    (folder / "broken.png").write_bytes(b"no image")
    calls = []
    with pytest.raises(
        IncompleteError, match=r"2 files could not .* 1 channel.* The other 1 are named above"
    ):
        upscale_path(folder, tmp_path / "out", resolver(), progress=lambda *n: calls.append(n))
    files = [name for name in listing(tmp_path / "out") if "." in name]
    assert sorted(files) == ["a/1.png", "b/1.png", "b/deep/2.tif"] and calls[-1] == (5, 5)
    failed = [record.message for record in caplog.records if record.message.startswith("Failed: ")]
    assert len(failed) == 2 and "broken.png" in failed[1]


def test_a_folder_of_nothing_but_bad_files(tmp_path, listing, smooth_image):
    write_image(tmp_path / "in/z.png", smooth_image(5, 7, 3))
    before = listing(tmp_path)
    with pytest.raises(MrisrError, match=r"z\.png: The model takes 1 channel"):
        upscale_path(tmp_path / "in", tmp_path / "out", resolver(fail_at=1))
    assert listing(tmp_path) == before


def test_a_full_disk_ends_the_work(folder, tmp_path, monkeypatch, listing):
    from keras_mrisr.inference import image_file

    def full(path, image):
        if path.name == "2.tif":
            raise DataError(f"Cannot write {path}: No space left on device.") from OSError(
                errno.ENOSPC, "full"
            )
        write_image(path, image)

    monkeypatch.setattr(image_file, "write_image", full)
    write_image(folder / "z.png", read_image(folder / "a/1.png"))
    with pytest.raises(IncompleteError, match=r"2\.tif: No space left.* 2 of 4 are done: make room"):
        upscale_path(folder, tmp_path / "out", resolver())
    assert not (tmp_path / "out/z.png").exists()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ({"include": ["*.tif"]}, ["b/deep/2.tif"]),
        ({"include": ["a/*", "2.*"]}, ["a/1.png", "b/deep/2.tif"]),
        ({"exclude": ["b/*"]}, ["a/1.png"]),
        ({"include": ["*.png"], "exclude": ["a/*"]}, ["b/1.png"]),
    ],
)
def test_patterns_choose_files(folder, words, names):
    assert [path.as_posix() for path in input_at(folder, **words).inputs] == names


def test_patterns_that_choose_nothing(folder):
    with pytest.raises(DataError, match="None of the 3 files"):
        input_at(folder, include=["*.nii"])
    with pytest.raises(ConfigError, match=r"`exclude` is for a folder of files, and .*1\.png is one input"):
        input_at(folder / "a/1.png", exclude=["x"])


def test_pixels_that_the_target_cannot_hold_are_refused_before_the_work(tmp_path, listing, smooth_image):
    write_image(tmp_path / "in/a.png", smooth_image(5, 7, dtype="uint16"))
    (tmp_path / "in/a.png").rename(tmp_path / "in/a.jpg")
    before = listing(tmp_path)
    for source, target in (("in", "out"), ("in/a.jpg", "b.jpg")):
        with pytest.raises(MrisrError, match=rf"Cannot write uint16 pixels to {tmp_path}/(out/a|b)\.jpg"):
            upscale_path(tmp_path / source, tmp_path / target, resolver(fail_at=1))
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("file/out", "not a writable folder"),
        ("file", "is a file"),
        ("file/out.png", "Cannot write"),
        ("out.gif", r"make the folder, or end in \.png"),
        ("out", r"make the folder, or end in \.png"),
    ],
)
def test_bad_targets(folder, tmp_path, listing, target, message):
    (tmp_path / "file").write_text("x")
    before = listing(tmp_path)
    source = folder if target in ("file/out", "file") else folder / "a/1.png"
    with pytest.raises(MrisrError, match=message):
        upscale_path(source, tmp_path / target, resolver())
    assert listing(tmp_path) == before


def test_channels_by_which_a_model_is_chosen(tmp_path, smooth_image):
    colour, grey = smooth_image(5, 7, 3), smooth_image(5, 7, 1)
    images = {"colour": colour, "grey": grey, "same": grey.repeat(3, axis=-1)}
    for name, image in images.items():
        write_image(tmp_path / f"{name}.png", image)
    assert [channels_of(input_at(tmp_path / f"{name}.png")) for name in images] == [3, 1, 1]
    for names, channels in ((["same", "same"], 1), (["same", "colour"], 3), (["colour", "grey"], 1)):
        folder = tmp_path / "-".join(names)
        for place, name in enumerate(names):
            write_image(folder / f"{place}.png", images[name])
        assert channels_of(input_at(folder)) == channels
