import pytest

from keras_mrisr.data import read_dataset
from keras_mrisr.data.volume_folder import read_volume_folder
from keras_mrisr.errors import MrisrError


@pytest.fixture
def tree(tmp_path):
    """A function (names) -> a folder with files of these names, empty but for that."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def patients(root, **options):
    dataset = read_volume_folder(root, **options)
    return {
        patient: [record.path.relative_to(root).as_posix() for record in records]
        for patient, records in dataset.by_patient().items()
    }


def test_patients_by_bids_folder_and_file(tree):
    root = tree(
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
        "sub-2_FLAIR.nii", "other/deep/a.NII", "other/b.nii.gz", "IXI002-Guys.nii.gz", "v10.nii", "v9.nii",
    )  # fmt: skip
    assert patients(root) == {
        "IXI002-Guys": ["IXI002-Guys.nii.gz"],
        "other": ["other/b.nii.gz", "other/deep/a.NII"],
        "sub-2": ["sub-2_FLAIR.nii"],
        "sub-01": ["sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz"],
        "v9": ["v9.nii"],
        "v10": ["v10.nii"],
    }
    dataset = read_volume_folder(root)
    assert dataset.kind == "volumes"
    assert dataset.extent == "8 volumes of 6 patients"
    assert [record.index for record in dataset.by_patient()["sub-01"]] == [0, 1]


def test_hidden_files_and_masks_are_no_volumes(tree):
    names = "._a.nii", ".git/a.nii", "a_mask.nii.gz", "a_seg.nii", "a_dseg.nii", "a.json", "masks_of_a.nii"
    assert patients(tree(*names)) == {"masks_of_a": ["masks_of_a.nii"]}


def test_pattern(tree):
    root = tree("a/IXI002-Guys-0828-T1.nii.gz", "a/IXI012-HH-1211-T1.nii.gz")
    pattern = "(?P<patient>IXI[0-9]+)-(?P<site>[A-Za-z]+)"
    assert set(patients(root, patient_pattern=pattern)) == {"IXI002", "IXI012"}
    assert read_dataset(root, "volumes", pattern).sites == {"IXI002": "Guys", "IXI012": "HH"}
    with pytest.raises(MrisrError, match="does not match the patient pattern"):
        read_volume_folder(root, "x([0-9]+)")


def test_auto(tree):
    root = tree("a/1.nii")
    assert read_dataset(root).kind == "volumes"
    tree("a/1.png")
    assert read_dataset(root).kind == "images"
    assert read_dataset(root, "volumes").kind == "volumes"


def test_nothing_there(tree):
    with pytest.raises(MrisrError, match=r"holds no volumes\. Expected \.nii or \.nii\.gz files"):
        read_volume_folder(tree("a.png"))


def test_where_slices_with_masks_are_needed(tree):
    with pytest.raises(MrisrError, match="holds 1 volume of 1 patient, and slices are needed here"):
        read_dataset(tree("a/1.nii")).require_slices()
