import pytest

from keras_mrisr.data.image_folder import read_image_folder
from keras_mrisr.data.patients import Patients
from keras_mrisr.data.splits import split_patients


@pytest.mark.parametrize(
    ("name", "patient", "way"),
    [
        ("sub-01/ses-1/slice_1.png", "sub-01", "BIDS subject"),
        ("site/sub-01/ses-1/anat/sub-01_ses-1_T1w/001.png", "sub-01", "BIDS subject"),
        ("all/sub-A1_ses-2_slice-07.png", "sub-A1", "BIDS subject"),
        ("sub-01_copy.png", "sub-01", "BIDS subject"),
        ("brain/1.png", "brain", "folder"),
        ("clinic/p7/1.png", "clinic/p7", "folder"),
        ("p7/ses-2/1.png", "p7", "folder"),
        ("p7/SES-2/anat/t1/1.png", "p7", "folder"),
        ("1.png", "root", "folder"),
        ("ses-1/1.png", "root", "folder"),
        ("subject/1.png", "subject", "folder"),
        ("sub-/1.png", "sub-", "folder"),
    ],
)
def test_whose_a_slice_is(tmp_path, name, patient, way):
    patients = Patients(tmp_path / "root")
    assert patients.find(name) == (patient, None)
    assert patients.way == way


@pytest.mark.parametrize(
    ("name", "patient", "way"),
    [
        ("sub-01/ses-1/T1.nii.gz", "sub-01", "BIDS subject"),
        ("p7/ses-1/T1.nii.gz", "p7", "folder"),
        ("T1.v2.nii.gz", "T1.v2", "file name"),
        ("T1.MGZ", "T1", "file name"),
    ],
)
def test_whose_a_volume_is(tmp_path, name, patient, way):
    patients = Patients(tmp_path, whole_files=True)
    assert patients.find(name) == (patient, None)
    assert patients.way == way


def test_a_folder_inside_a_subject_is_that_subject(tmp_path):
    patients = Patients(tmp_path / "sub-09" / "derivatives")
    assert {patients.find(name)[0] for name in ("ses-1/1.png", "ses-2/1.png")} == {"sub-09"}


def test_sessions_of_a_person_never_fall_apart(tmp_path):
    for subject in range(8):
        for session in (1, 2, 3):
            path = tmp_path / f"sub-{subject}" / f"ses-{session}" / "1.png"
            path.parent.mkdir(parents=True)
            path.touch()
    dataset = read_image_folder(tmp_path)
    assert dataset.patients_by == "BIDS subject"
    split = split_patients(dataset.sites)
    assert split.patients == tuple(f"sub-{subject}" for subject in range(8))
