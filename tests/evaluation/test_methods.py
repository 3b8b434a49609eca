import numpy as np
import pytest
from PIL import Image

from keras_mrisr.data import read_dataset, read_image, write_image
from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.errors import MrisrError
from keras_mrisr.evaluation.methods import Interpolator, Model, Predictions
from keras_mrisr.evaluation.slices import SliceReader


@pytest.fixture
def dataset(tmp_path, smooth_image):
    for patient in "ab":
        for index in range(3):
            image = smooth_image(33, 40, seed=index)
            write_image(tmp_path / f"data/{patient}/{index}.tif", image)
    return read_dataset(tmp_path / "data")


@pytest.fixture
def folder(tmp_path, dataset):
    """Predictions of all slices, as another program may have written them."""
    for record in dataset.slices:
        name = record.path.relative_to(dataset.root).with_suffix(".png")
        write_image(tmp_path / "tool" / name, 255 - read_image(record.path))
    (tmp_path / "tool/readme.txt").write_text("no image")
    Image.fromarray(np.zeros((4, 4), "uint8")).save(tmp_path / "tool/a/0_mask.png")
    return tmp_path / "tool"


@pytest.fixture
def reader(dataset):
    return SliceReader(dataset, get_degradation("bicubic", 2))


def test_interpolator(dataset, reader):
    record = dataset.slices[0]
    image = Interpolator("lanczos", 2)(record, reader)
    np.testing.assert_array_equal(image, interpolate(reader.lr(record), 2, "lanczos"))
    assert image.shape == reader.hr(record).shape == (32, 40, 1)
    assert reader.cropped == {record.path}


def test_model_with_neighbours(dataset, reader, upscaler):
    """Slice-major, and the ends of a stack repeated."""
    model = upscaler(channels=1, neighbours=1)
    contender = Model("A", model)
    first, second, third = dataset.slices[:3]
    lr = {one: reader.lr(one) for one in (first, second, third)}
    for middle, around in ((second, (first, second, third)), (first, (first, first, second))):
        assert contender(middle, reader).shape == (32, 40, 1)
        np.testing.assert_array_equal(
            model.given[-1][0], np.concatenate([lr[one] for one in around], axis=-1)
        )


def test_model_of_volumes_is_refused(upscaler):
    model = upscaler()
    object.__setattr__(model.info, "factors", (1, 1, 2))
    with pytest.raises(MrisrError, match="model of volumes"):
        Model("A", model)


def test_predictions_are_found_by_name(dataset, folder, reader):
    predictions = Predictions("tool", folder, dataset)
    predictions.check(dataset.slices, reader)
    record = dataset.slices[4]
    # The 33rd row, which no x2 model can make, is cut off as it is from the original.
    np.testing.assert_array_equal(predictions(record, reader), (255 - read_image(record.path))[:32])
    write_image(folder / "b/1.png", read_image(record.path)[:32])
    np.testing.assert_array_equal(predictions(record, reader), reader.hr(record))


def test_predictions_of_deeper_images_share_their_range(tmp_path):
    image = np.linspace(100, 3000, 24 * 24).astype("uint16").reshape(24, 24)
    write_image(tmp_path / "data/a/0.png", image)
    write_image(tmp_path / "tool/a/0.tif", image // 2)
    dataset = read_dataset(tmp_path / "data")
    reader = SliceReader(dataset, get_degradation("bicubic", 2))
    [record] = dataset.slices
    prediction = Predictions("tool", tmp_path / "tool", dataset)(record, reader)
    np.testing.assert_allclose(prediction, reader.hr(record) / 2, atol=1)
    assert reader.converted == {record.path}


@pytest.mark.parametrize("unit", ["tool", "data"])
def test_predictions_of_another_range_are_refused(tmp_path, unit):
    image = np.linspace(100, 3000, 24 * 24).astype("uint16").reshape(24, 24)
    other = {"tool": "data", "data": "tool"}[unit]
    write_image(tmp_path / other / "a/0.tif", image)
    write_image(tmp_path / unit / "a/0.tif", image.astype("float32"))
    dataset = read_dataset(tmp_path / "data")
    predictions = Predictions("tool", tmp_path / "tool", dataset)
    reader = SliceReader(dataset, get_degradation("bicubic", 2))
    predictions.check(dataset.slices, reader)
    write_image(tmp_path / unit / "a/0.tif", (image / 3000).astype("float32"))
    reader = SliceReader(dataset, get_degradation("bicubic", 2))
    with pytest.raises(MrisrError, match=r"save the predictions in the original's range\.$") as error:
        predictions.check(dataset.slices, reader)
    assert "values up to" in str(error.value) and "\n" not in str(error.value)


def remove(folder):
    (folder / "a/1.png").unlink()
    (folder / "b/2.png").unlink()


def add(folder):
    write_image(folder / "c/0.png", np.zeros((33, 40), "uint8"))


def resize(folder):
    write_image(folder / "a/0.png", np.zeros((16, 20), "uint8"))


def colour(folder):
    write_image(folder / "a/0.png", np.zeros((33, 40, 3), "uint8"))


def double(folder):
    write_image(folder / "a/0.tif", np.zeros((33, 40), "uint8"))


def deepen(folder):
    write_image(folder / "a/0.png", np.zeros((33, 40), "uint16"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove, r"tool lacks 2 of 6 predictions, such as a/1"),
        (add, r"c.0\.png belongs to no slice of .*data \(1 such file\)"),
        (resize, r"a.0\.png is 16x20x1, its original .*0\.tif 33x40x1 .* must have the size of"),
        (colour, r"is 33x40x3, .* 33x40x1 .* predictions must have the channels of the HR slices"),
        (double, r"0\.png and .*0\.tif are of one slice"),
        (deepen, r"holds uint16 pixels, its original .* uint8"),
    ],
)
def test_predictions_that_do_not_fit(dataset, folder, reader, spoil, message):
    spoil(folder)
    with pytest.raises(MrisrError, match=message) as error:
        Predictions("tool", folder, dataset).check(dataset.slices, reader)
    assert "\n" not in str(error.value)


def test_no_folder(dataset, folder):
    with pytest.raises(MrisrError, match="is not a folder"):
        Predictions("tool", folder / "readme.txt", dataset)


def test_a_mask_of_another_size(tmp_path, smooth_image):
    write_image(tmp_path / "data/a/0.png", smooth_image(32, 32))
    write_image(tmp_path / "data/a/0_mask.png", np.zeros((16, 16), "uint8"))
    dataset = read_dataset(tmp_path / "data")
    reader = SliceReader(dataset, get_degradation("bicubic", 2))
    with pytest.raises(MrisrError, match=r"0_mask\.png is 16x16 pixels, its image 32x32"):
        reader.masks(dataset.slices[0])


def test_neighbours_of_another_size(tmp_path, smooth_image):
    write_image(tmp_path / "data/a/0.png", smooth_image(32, 32))
    write_image(tmp_path / "data/a/1.png", smooth_image(32, 40))
    dataset = read_dataset(tmp_path / "data")
    reader = SliceReader(dataset, get_degradation("bicubic", 2))
    with pytest.raises(MrisrError, match="differ in size"):
        reader.lr(dataset.slices[0], neighbours=1)
