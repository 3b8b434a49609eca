"""What lies at a path, and one writer for an output at a time."""

import threading

import nibabel
import numpy as np
import pytest

from keras_mrisr.data import write_image
from keras_mrisr.errors import DataError
from keras_mrisr.inference import SuperResolver, upscale_path
from keras_mrisr.inference.inputs import Folder, input_at
from keras_mrisr.model_info import ModelInfo

AFFINE = np.diag([0.5, 0.5, 3.0, 1.0])


class Nearest:
    def __init__(self, during=None):
        self.during = during

    def predict_on_batch(self, lr):
        if self.during is not None:
            self.during()
        return lr.repeat(2, axis=1).repeat(2, axis=2)


def resolver(during=None):
    return SuperResolver(Nearest(during), ModelInfo(2, 1, generator={}, degradation={}))


@pytest.fixture
def save():
    """A function (path) that writes a small NIfTI volume."""

    def write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(0).uniform(100, 200, (8, 10, 3)).astype("float32")
        nibabel.save(nibabel.Nifti1Image(values, AFFINE), path)

    return write


@pytest.mark.parametrize("marked", [True, False])
def test_what_is_derived_in_bids_is_left_out_and_it_is_said(tmp_path, save, smooth_image, caplog, marked):
    caplog.set_level("INFO", "keras_mrisr")
    root = tmp_path / "bids"
    names = ["sub-01/anat/sub-01_T1w.nii.gz", "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii"]
    for name in (*names, "derivatives/fmriprep/sub-01/anat/sub-01_label-GM_probseg.nii.gz", "code/x.nii"):
        save(root / name)
    save(root / "sub-01/anat/derivatives/kept.nii")  # Only those at the root are BIDS'.
    write_image(root / "code/figure.png", smooth_image(8, 8))
    (root / "sourcedata").mkdir()
    (root / "sourcedata/scan").write_bytes(bytes(128) + b"DICM")
    if marked:
        (root / "dataset_description.json").write_text("{}")
    upscale_path(root, tmp_path / "out", resolver())
    written = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.nii*"))
    assert written == ["sub-01/anat/derivatives/kept.nii", *names]
    for name in ("derivatives", "code", "sourcedata"):
        assert f"{root / name} is left out: it does not hold raw data" in caplog.text


def test_a_folder_called_derivatives_elsewhere_is_taken(tmp_path, save):
    save(tmp_path / "mine/derivatives/a.nii")
    found = input_at(tmp_path / "mine")
    assert isinstance(found, Folder) and [str(name) for name in found.inputs] == ["derivatives/a.nii"]
    save(tmp_path / "bids/sub-01/a.nii")
    save(tmp_path / "bids/derivatives/b.nii")
    assert list(map(str, input_at(tmp_path / "bids/derivatives").inputs)) == ["b.nii"]


def test_a_source_that_is_nothing_is_blamed_itself(tmp_path):
    (tmp_path / "notes.docx").write_bytes(b"PK\3\4")
    with pytest.raises(DataError, match=r"notes.docx is no image \(.png, .*and no volume \(.nii, .*\.mgz"):
        upscale_path(tmp_path / "notes.docx", tmp_path / "out.nii.gz", resolver())


def test_images_are_known_by_what_they_hold(tmp_path, smooth_image):
    write_image(tmp_path / "in.png", smooth_image(8, 8))
    (tmp_path / "in.png").rename(tmp_path / "slice.data")
    upscale_path(tmp_path / "slice.data", tmp_path / "out.png", resolver())
    assert (tmp_path / "out.png").is_file()


@pytest.mark.parametrize("kind", ["image", "volume", "folder"])
def test_of_two_that_write_one_output_one_goes_on(tmp_path, save, smooth_image, kind):
    """The second begins while the first is at work, and is done before it goes on."""
    write_image(tmp_path / "in/a.png", smooth_image(8, 8))
    save(tmp_path / "a.nii")
    source, target = {"image": ("in/a.png", "b.png"), "volume": ("a.nii", "b.nii"), "folder": ("in", "out")}[
        kind
    ]
    errors = []

    def second():
        try:
            upscale_path(tmp_path / source, tmp_path / target, resolver(), overwrite=True)
        except DataError as error:
            errors.append(str(error))

    def during():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(60)

    [written] = upscale_path(tmp_path / source, tmp_path / target, resolver(during))
    assert written.is_file()
    assert len(errors) == 1 and f"{tmp_path / target} is being written by process" in errors[0]
    assert not [path for path in tmp_path.rglob(".*")]


def test_a_report_and_a_figure_are_held_too(tmp_path, save):
    save(tmp_path / "a.nii")
    errors = []

    def during():
        try:
            upscale_path(tmp_path / "a.nii", tmp_path / "c.nii", resolver(), uncertainty=tmp_path / "std.nii")
        except DataError as error:
            errors.append(str(error))

    options = {"uncertainty": tmp_path / "std.nii"}
    upscale_path(tmp_path / "a.nii", tmp_path / "b.nii", resolver(during), **options)
    assert errors and all("std.nii is being written by process" in error for error in errors)
    assert not (tmp_path / "c.nii").exists()
