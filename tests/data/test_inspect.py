import numpy as np
import pytest

from keras_mrisr.data import read_dataset, read_image, write_image
from keras_mrisr.data.inspect import contact_sheet, inspect_dataset
from keras_mrisr.errors import MrisrError


def _write(root, patient, index, mask=False, size=(32, 32)):
    image = np.zeros((*size, 3), "uint8")
    rng = np.random.default_rng([index, *patient.encode()])
    image[8:-8, 8:-8] = rng.integers(100, 200, (size[0] - 16, size[1] - 16, 3))
    write_image(root / patient / f"{patient}_{index}.tif", image)
    tumour = np.zeros((*size, 1), "uint8")
    tumour[10:20, 10:20] = 255 * mask
    write_image(root / patient / f"{patient}_{index}_mask.tif", tumour)


@pytest.fixture
def lgg(tmp_path):
    root = tmp_path / "lgg"
    for index in (1, 2, 3):
        _write(root, "TCGA_CS_1_1", index, mask=index == 1)
        _write(root, "TCGA_DU_2_1", index)
    _write(root, "TCGA_DU_3_1", 1, size=(32, 40))
    return root


def test_rows_per_site_and_totals(lgg):
    report = inspect_dataset(read_dataset(lgg))
    columns, rows = report.to_table()
    table = [dict(zip(columns, row, strict=True)) for row in rows]
    assert [row["site"] for row in table] == ["CS", "DU", "all"]
    assert [row["patients"] for row in table] == ["1", "2", "3"]
    assert [row["slices"] for row in table] == ["3", "4", "7"]
    assert [row["tumour slices"] for row in table] == ["1", "0", "1"]
    assert [row["tumour patients"] for row in table] == ["1", "0", "1"]
    assert [row["findings"] for row in table] == ["0", "1", "1"]
    assert table[1]["size"] == "32x32, 32x40"
    assert report.total.tissue == pytest.approx((6 * 0.25 + 16 * 24 / (32 * 40)) / 7)
    assert report.total.slices == 7


def test_findings_are_counted_and_cut(lgg):
    for index in (1, 2, 3):
        (lgg / "TCGA_CS_1_1" / f"TCGA_CS_1_1_{index}.tif").write_bytes(b"")
    lines = inspect_dataset(read_dataset(lgg)).finding_lines(per_kind=2)
    assert "unreadable: 3" in lines
    assert lines[-1] == "  ... and 1 more"


def test_images_without_sites_or_masks(tmp_path):
    write_image(tmp_path / "a" / "1.png", np.full((8, 8, 1), 9, "uint16"))
    columns, rows = inspect_dataset(read_dataset(tmp_path)).to_table()
    assert len(rows) == 1
    assert dict(zip(columns, rows[0], strict=True))["tumour slices"] == "-"


def test_contact_sheet_outlines_the_tumour_of_its_largest_slice(lgg, tmp_path):
    contact_sheet(read_dataset(lgg), tmp_path / "sheet.png", cell=64)
    sheet = read_image(tmp_path / "sheet.png")
    outline = (sheet == (255, 214, 10)).all(axis=-1)
    assert outline.any()
    rows, columns = np.nonzero(outline)  # Patient 1 is the first cell; 32 pixels are drawn as 64.
    assert (rows.min(), rows.max()) == (6 + 20, 6 + 39)
    assert (columns.min(), columns.max()) == (6 + 20, 6 + 39)


def test_contact_sheet_takes_any_image_and_leaves_unreadable_cells(tmp_path):
    write_image(tmp_path / "in" / "a" / "1.png", np.zeros((5, 90, 1), "uint16"))
    write_image(tmp_path / "in" / "b" / "1.tif", np.ones((9, 9, 3), "float32"))
    (tmp_path / "in" / "c").mkdir()
    (tmp_path / "in" / "c" / "1.png").write_text("no image")
    contact_sheet(read_dataset(tmp_path / "in"), tmp_path / "sheet.png", per_patient=3, cell=48)
    height, width, _ = read_image(tmp_path / "sheet.png").shape
    assert (height, width) == (3 * (48 + 30 + 6) + 6, 3 * (48 + 6) + 6)


def test_contact_sheet_of_nothing(lgg, tmp_path):
    with pytest.raises(MrisrError, match="Nothing to show"):
        contact_sheet(read_dataset(lgg).select([]), tmp_path / "sheet.png")
    with pytest.raises(MrisrError, match="known image type"):
        contact_sheet(read_dataset(lgg), tmp_path / "sheet.pdf")
    assert not list(tmp_path.glob("sheet*"))
