import numpy as np
import pytest

from keras_mrisr.data import read_dataset, write_image
from keras_mrisr.data.pipeline import load_pairs
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError


@pytest.fixture
def folders(tmp_path):
    """Three HR images of 12x14 and their LR images of 6x7, which no other degradation would make."""
    rng = np.random.default_rng(0)
    for patient in "abc":
        write_image(tmp_path / "hr" / patient / "1.png", rng.integers(0, 256, (13, 14, 1)).astype("uint8"))
        write_image(tmp_path / "lr" / patient / "1.png", rng.integers(0, 256, (6, 7, 1)).astype("uint8"))
    return tmp_path / "hr", tmp_path / "lr"


def test_lr_comes_from_the_file_of_the_same_name(folders):
    hr, lr = folders
    degradation = get_degradation("paired", 2, lr_root=str(lr))
    pairs = load_pairs(read_dataset(hr), degradation)
    assert [pair.record.patient for pair in pairs] == ["a", "b", "c"]
    for pair in pairs:
        expected = read_dataset(lr).select([pair.record.patient])
        np.testing.assert_array_equal(pair.lr, expected.read(expected.slices[0]))
        assert pair.hr.shape == (12, 14, 1)


def test_a_model_does_not_depend_on_the_folder(folders):
    degradation = get_degradation("paired", 2, lr_root=str(folders[1]))
    assert degradation.to_dict() == {"name": "paired", "scale": 2}
    again = get_degradation(**degradation.to_dict())
    with pytest.raises(MrisrError, match="needs the folder of LR images"):
        load_pairs(read_dataset(folders[0]), again)
    with pytest.raises(MrisrError, match="no other can be degraded"):
        again.degrade(np.zeros((4, 4, 1), "uint8"))
    with pytest.raises(MrisrError, match="differs from image to image"):
        again.require_fixed()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (None, r"b.1\.png is missing: every HR image needs its LR image"),
        (np.zeros((4, 5, 1), "uint8"), "has 4x5 pixels .* would have 6x7 pixels. Set `scale` to the factor"),
        (np.zeros((6, 7, 3), "uint8"), "has 6x7 pixels and 3 channel"),
        (np.zeros((6, 7, 1), "uint16"), "has uint8 pixels, its LR image uint16"),
    ],
)
def test_pairs_that_do_not_fit(folders, array, message):
    hr, lr = folders
    (lr / "b" / "1.png").unlink()
    if array is not None:
        write_image(lr / "b" / "1.png", array)
    with pytest.raises(MrisrError, match=message):
        load_pairs(read_dataset(hr), get_degradation("paired", 2, lr_root=str(lr)))
