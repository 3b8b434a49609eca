import logging

import pytest

from keras_mrisr.data.lgg import find_lgg_root, read_lgg
from keras_mrisr.errors import MrisrError


def _make(root, patient, slices=(1, 2, 10), masks=None):
    folder = root / patient
    folder.mkdir(parents=True)
    for number in slices:
        (folder / f"{patient}_{number}.tif").touch()
    for number in slices if masks is None else masks:
        (folder / f"{patient}_{number}_mask.tif").touch()
    return folder


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "lgg-mri-segmentation" / "kaggle_3m"
    _make(root, "TCGA_DU_5855_19951217", slices=range(1, 13))
    _make(root, "TCGA_CS_4941_19960909", slices=range(1, 4))
    return root


def test_slices_come_in_numeric_order_with_their_masks(tree, caplog):
    with caplog.at_level(logging.INFO):
        dataset = read_lgg(tree)
    assert dataset.kind == "lgg"
    assert dataset.sites == {"TCGA_CS_4941_19960909": "CS", "TCGA_DU_5855_19951217": "DU"}
    assert [record.index for record in dataset.by_patient()["TCGA_DU_5855_19951217"]] == list(range(1, 13))
    assert all(record.mask.stem == f"{record.path.stem}_mask" for record in dataset.slices)
    assert dataset.findings == ()
    assert "15 slices of 2 patients (CS 1, DU 1); nothing odd" in caplog.text


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_the_tree_is_found_below(tree, levels):
    root = [tree, tree.parent, tree.parent.parent][levels]
    assert find_lgg_root(root) == tree
    assert read_lgg(root).root == tree


def test_what_is_odd_becomes_a_finding(tree):
    folder = _make(tree, "TCGA_HT_7473_19970826", slices=(1, 2, 5), masks=(1, 2, 9))
    (folder / "notes.txt").touch()
    (tree / "elsewhere").mkdir()
    (tree / "TCGA_FG_1_2").mkdir()
    dataset = read_lgg(tree)
    found = {finding.kind: finding.message for finding in dataset.findings}
    assert len(dataset.findings) == 6
    assert "_5.tif has no mask" in found["missing-mask"]
    assert "_9_mask.tif has no image" in found["unpaired-mask"]
    assert "lacks slice number 3, 4" in found["missing-slice"]
    assert "TCGA_FG_1_2 has no slices" in found["no-slices"]
    assert {f.path.name for f in dataset.findings if f.kind == "unexpected-file"} == {
        "notes.txt",
        "elsewhere",
    }
    assert "TCGA_FG_1_2" not in dataset.patients


def test_table_is_read_and_compared(tree):
    (tree / "data.csv").write_text(
        "Patient,gender,age\nTCGA_CS_4941,2,67\nTCGA_XX_1,1,30\n", encoding="utf-8-sig"
    )
    dataset = read_lgg(tree)
    assert dataset.table == {"TCGA_CS_4941_19960909": {"gender": "2", "age": "67"}}
    assert {(finding.kind, finding.patient) for finding in dataset.findings} == {
        ("not-listed", "TCGA_DU_5855_19951217"),
        ("not-present", "TCGA_XX_1"),
    }


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"Patient\n\xff\xfe\n", b""])
def test_a_useless_table_is_only_a_finding(tree, content):
    (tree / "data.csv").write_bytes(content)
    dataset = read_lgg(tree)
    assert dataset.table == {}
    assert {finding.kind for finding in dataset.findings} <= {"table", "not-listed"}
    assert dataset.findings


def test_no_tree(tmp_path):
    with pytest.raises(MrisrError, match="does not exist"):
        read_lgg(tmp_path / "none")
    with pytest.raises(MrisrError, match="holds no TCGA_"):
        read_lgg(tmp_path)
    (tmp_path / "TCGA_CS_1_2").mkdir()
    with pytest.raises(MrisrError, match="no slice in them"):
        read_lgg(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(MrisrError, match="is not a folder"):
        read_lgg(tmp_path / "file")
