import numpy as np
import pytest

from keras_mrisr.data import read_dataset, write_image
from keras_mrisr.data.inspect import inspect_dataset
from keras_mrisr.data.quality import find_oddities, scan_pixels


def _slice(seed, channels=3, size=(40, 40), dtype="uint8"):
    """A bright square with texture on a dark ground."""
    image = np.zeros((*size, channels), dtype)
    texture = np.random.default_rng(seed).integers(100, 200, (size[0] - 20, size[1] - 20, channels))
    image[10:-10, 10:-10] = texture
    return image


@pytest.fixture
def lgg(tmp_path):
    """Three patients of three good slices each."""
    for site, number in (("CS", 1), ("DU", 2), ("DU", 3)):
        patient = f"TCGA_{site}_{number}_19960909"
        for index in (1, 2, 3):
            write_image(tmp_path / patient / f"{patient}_{index}.tif", _slice(10 * number + index))
            mask = np.zeros((40, 40, 1), "uint8")
            mask[15:20, 15:20] = 255 * (index == 2)
            write_image(tmp_path / patient / f"{patient}_{index}_mask.tif", mask)
    return tmp_path


def _path(root, index, patient="TCGA_DU_2_19960909", mask=""):
    return root / patient / f"{patient}_{index}{mask}.tif"


def _all_findings(root):
    dataset = read_dataset(root)
    return find_oddities(dataset, scan_pixels(dataset))


def _findings(root):
    return {finding.kind: finding for finding in _all_findings(root)}


def test_good_data_has_no_findings_and_true_numbers(lgg):
    calls = []
    dataset = read_dataset(lgg)
    scanned = scan_pixels(dataset, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 9) for done in range(1, 10)]
    assert [pixels.tumour for pixels in scanned] == [0, 25, 0] * 3
    assert all(pixels.tissue == pytest.approx(0.25) for pixels in scanned)
    assert all(pixels.shape == (40, 40, 3) and pixels.dtype == "uint8" for pixels in scanned)
    assert _findings(lgg) == {}


def test_unreadable_slices_are_found(lgg):
    _path(lgg, 1).write_text("not a TIFF")
    found = [(finding.kind, finding.path) for finding in _all_findings(lgg)]
    assert found == [("unreadable", _path(lgg, 1))]


def test_every_slice_unreadable(lgg):
    for path in lgg.rglob("*.tif"):
        path.write_bytes(b"")
    assert {finding.kind for finding in _all_findings(lgg)} == {"unreadable"}


def test_patients_with_equal_slices(lgg):
    """A person who came twice, or a copy of the data."""
    for index in (1, 2):
        copied = _path(lgg, index + 1, "TCGA_CS_1_19960909")
        write_image(copied, _slice(20 + index))  # As of the second patient.
    write_image(_path(lgg, 3), np.full((40, 40, 3), 7, "uint8"))  # Blank ones are equal in everybody.
    write_image(_path(lgg, 3, "TCGA_DU_3_19960909"), np.full((40, 40, 3), 7, "uint8"))
    [finding] = [finding for finding in _all_findings(lgg) if finding.kind == "equal-slices"]
    names = "TCGA_CS_1_19960909 and TCGA_DU_2_19960909"
    assert finding.message.startswith(f"{names} have 2 equal slice(s), such as")


@pytest.mark.parametrize(
    ("equal", "message"),
    [
        ((0, 1), "pre-contrast and FLAIR (channels 0 and 1) are equal in 3 of 3"),
        ((1, 2), "FLAIR and post-contrast (channels 1 and 2) are equal in 3 of 3"),
        ((0, 1, 2), "pre-contrast, FLAIR, post-contrast are all equal"),
    ],
)
def test_equal_channels_are_named(lgg, equal, message):
    for index in (1, 2, 3):
        image = _slice(index)
        image[..., equal] = image[..., 1:2]
        write_image(_path(lgg, index), image)
    finding = _findings(lgg)["equal-channels"]
    assert finding.patient == "TCGA_DU_2_19960909"
    assert message in finding.message


def test_near_empty_and_black_slices(lgg):
    write_image(_path(lgg, 1), np.zeros((40, 40, 3), "uint8"))
    noise = np.random.default_rng(0).integers(0, 6, (40, 40, 3)).astype("uint8")
    write_image(_path(lgg, 3), noise)
    found = [finding.path for finding in _all_findings(lgg) if finding.kind == "near-empty"]
    assert found == [_path(lgg, 1), _path(lgg, 3)]


def test_a_black_patient_is_near_empty_and_no_more(lgg):
    for index in (1, 2, 3):
        write_image(_path(lgg, index), np.zeros((40, 40, 3), "uint8"))
    assert [finding.kind for finding in _all_findings(lgg)] == ["near-empty"] * 3


def test_sizes_and_types_unlike_the_majority(lgg):
    write_image(_path(lgg, 1), _slice(1, size=(40, 50)))
    write_image(_path(lgg, 2), _slice(1, channels=1))
    findings = _findings(lgg)
    assert "has 40x50 pixels, most of TCGA_DU_2_19960909 has 40x40" in findings["size"].message
    assert findings["size"].path == _path(lgg, 1)
    assert "has 1 channel(s) of uint8" in findings["type"].message
    assert "(40, 40), its image (40, 50)" in findings["mask"].message


def test_a_patient_unlike_the_others(lgg):
    for index in (1, 2, 3):
        write_image(_path(lgg, index), _slice(index, dtype="uint16"))
    finding = _findings(lgg)["type"]
    assert finding.path is None
    assert "3 channel(s) of uint16, most patients have 3 channel(s) of uint8" in finding.message


def test_a_broken_mask_leaves_its_slice(lgg):
    _path(lgg, 2, mask="_mask").write_bytes(b"II*\0")
    assert [finding.kind for finding in _all_findings(lgg)] == ["mask"]
    (failure,) = inspect_dataset(read_dataset(lgg)).failures
    assert failure.path == _path(lgg, 2, mask="_mask")


def test_a_bright_background_is_found(lgg):
    for index in (1, 2, 3):
        image = _slice(index)
        image[..., 0] = np.maximum(image[..., 0], 76)
        write_image(_path(lgg, index), image)
    assert "pre-contrast (channel 0) has a background of about 76" in _findings(lgg)["background"].message
