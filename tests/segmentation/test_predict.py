import shutil

import numpy as np
import pytest

from keras_mrisr.data import read_dataset, read_image, write_image
from keras_mrisr.errors import ConfigError, DataError, IncompleteError, MrisrError
from keras_mrisr.folders import Choice
from keras_mrisr.segmentation import Segmenter, segment_path
from keras_mrisr.segmentation.predict import segment_input


@pytest.fixture(scope="module")
def segmenter(unet_run):
    return Segmenter.load(unet_run)


@pytest.fixture
def images(tmp_path, lesion_root):
    """Two patients, whose masks are there, too."""
    for patient in ("p2", "p5"):
        shutil.copytree(lesion_root / patient, tmp_path / "in" / patient)
    return tmp_path / "in"


def test_folder(segmenter, images, tmp_path):
    calls = []
    written = segment_path(images, tmp_path / "out", segmenter, progress=lambda *call: calls.append(call))
    assert calls == [(4, 8), (8, 8)]
    assert written[0] == tmp_path / "out/p2/0_mask.png"
    assert len(written) == 8
    slices = [read_image(images / "p5" / f"{index}.png") for index in range(4)]
    for index, mask in enumerate(segmenter(slices)):
        stored = read_image(tmp_path / "out/p5" / f"{index}_mask.png")
        assert stored.dtype == np.uint8
        np.testing.assert_array_equal(stored[..., 0], 255 * mask)
    # Beside their slices, they are read as masks.
    shutil.copytree(tmp_path / "out", images, dirs_exist_ok=True)
    assert all(record.mask is not None for record in read_dataset(images).slices)


def test_names(segmenter, images, tmp_path):
    image = read_image(images / "p2/1.png")
    for name in ("a.tif", "b.TIFF", "c.jpg", "d.png"):
        write_image(tmp_path / "mixed" / name, image)
    segment_path(tmp_path / "mixed", tmp_path / "out", segmenter)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a_mask.tif", "b_mask.TIFF", "c_mask.png", "d_mask.png"]
    write_image(tmp_path / "mixed/d.jpg", image)
    with pytest.raises(MrisrError, match=r"two images whose mask would be d_mask\.png"):
        segment_path(tmp_path / "mixed", tmp_path / "again", segmenter)


def test_file(segmenter, images, tmp_path):
    source = images / "p2/1.png"
    assert segment_path(source, tmp_path / "mask.tif", segmenter) == [tmp_path / "mask.tif"]
    [mask] = segmenter([read_image(source)])
    np.testing.assert_array_equal(read_image(tmp_path / "mask.tif")[..., 0], 255 * mask)
    (tmp_path / "there").mkdir()
    assert segment_path(source, tmp_path / "there", segmenter) == [tmp_path / "there/1_mask.png"]


@pytest.mark.parametrize(
    "target,message",
    [
        ("in", "is the source itself"),
        ("in/deeper", "lies in the source"),
        (".", "holds the source"),
        ("full/own.txt", "is a file"),
    ],
)
def test_bad_places(segmenter, images, tmp_path, listing, target, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/own.txt").write_text("mine")
    before = listing(tmp_path)
    with pytest.raises(MrisrError, match=message):
        segment_path(images, tmp_path / target, segmenter)
    with pytest.raises(MrisrError):
        segment_path(images, tmp_path / target, segmenter, overwrite=True)
    assert listing(tmp_path) == before


def test_a_bad_image_stops_no_other(segmenter, images, tmp_path, caplog):
    (images / "p5/3.png").write_bytes(b"no image")
    write_image(images / "p2/0.png", np.zeros((32, 32, 3), "uint8"))
    with pytest.raises(
        IncompleteError, match=r"^2 files could not be segmented.*p2/0\.png: The U-Net takes 1"
    ):
        segment_path(images, tmp_path / "out", segmenter)
    assert "p5/3.png is not a PNG" in caplog.text
    made = sorted((tmp_path / "out").rglob("*.png"))
    assert len(made) == 6
    stack = segmenter([read_image(images / "p5" / f"{index}.png") for index in range(3)])
    for index, mask in enumerate(stack):
        np.testing.assert_array_equal(read_image(tmp_path / f"out/p5/{index}_mask.png")[..., 0], 255 * mask)
    write_image(images / "p5/3.png", read_image(images / "p5/2.png"))
    write_image(images / "p2/0.png", np.zeros((16, 32), "uint8"))
    before = {path: path.stat().st_mtime_ns for path in made}
    outcome = segment_input(images, tmp_path / "out", segmenter, largest=True, skip_existing=True)
    assert [path.name for path in outcome.written] == ["3_mask.png"] and outcome.skipped == 6
    [failure] = outcome.failures
    assert "Patient p2: The largest lesion is one of a volume" in failure.reason
    assert {path: path.stat().st_mtime_ns for path in made} == before


def test_which_images(segmenter, images, tmp_path):
    outcome = segment_input(images, tmp_path / "out", segmenter, choice=Choice(["p2/*"], ["3.png"]))
    assert [path.relative_to(tmp_path / "out").as_posix() for path in outcome.written] == [
        f"p2/{index}_mask.png" for index in range(3)
    ]
    with pytest.raises(ConfigError, match="leave out one"):
        segment_path(images, tmp_path / "out", segmenter, overwrite=True, skip_existing=True)
    with pytest.raises(ConfigError, match="are for folders"):
        segment_path(images / "p2/0.png", tmp_path / "0.png", segmenter, skip_existing=True)


def test_nothing_that_can_be_segmented(segmenter, images, tmp_path):
    for path in images.rglob("?.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"0\.png is not a PNG"):
        segment_path(images, tmp_path / "out", segmenter)
    assert not (tmp_path / "out").exists()
