"""Which files of a folder are taken, and which of them can be used."""

import nibabel
import numpy as np
import pytest

from keras_mrisr.data import read_dataset, split_patients, write_image
from keras_mrisr.data.inspect import inspect_dataset
from keras_mrisr.data.usable import usable
from keras_mrisr.errors import DataError
from keras_mrisr.folders import Choice

GREY = np.arange(64, dtype="uint8").reshape(8, 8)


def names(dataset):
    return [record.path.relative_to(dataset.root).as_posix() for record in dataset.slices]


@pytest.fixture
def images(tmp_path):
    for patient in range(6):
        for kind in ("t1", "t2"):
            write_image(tmp_path / f"images/p{patient}/{kind}.png", GREY)
        write_image(tmp_path / f"images/p{patient}/t1_mask.png", GREY)
    return tmp_path / "images"


@pytest.fixture
def volumes(tmp_path):
    (tmp_path / "volumes").mkdir()
    array = np.arange(64, dtype="int16").reshape(4, 4, 4)
    for name, content in {"a": array, "b": array[::-1], "c": np.stack([array] * 2, -1)}.items():
        nibabel.save(nibabel.Nifti1Image(content, np.eye(4)), tmp_path / f"volumes/{name}.nii")
    return tmp_path / "volumes"


def test_chosen_images_come_with_their_masks(images):
    dataset = read_dataset(images, choice=Choice(["t1.png"], ["p0/*"]))
    assert names(dataset) == [f"p{patient}/t1.png" for patient in range(1, 6)]
    assert all(record.mask is not None for record in dataset.slices) and dataset.findings == ()
    assert read_dataset(images, choice=Choice(["t2.png"])).findings == ()  # Masks of what is not taken.


def test_a_choice_says_of_which_kind_a_mixed_folder_is(images, volumes):
    root = images.parent
    assert read_dataset(root).kind == "images"
    dataset = read_dataset(root, choice=Choice(["*.nii"], ["b.nii"]))
    assert (dataset.kind, names(dataset)) == ("volumes", ["volumes/a.nii", "volumes/c.nii"])
    with pytest.raises(DataError, match="None of the 3 files"):
        read_dataset(volumes, choice=Choice(["*.png"]))


def test_chosen_slices_of_lgg(lgg_root):
    whole = read_dataset(lgg_root)
    first = whole.patients[0]
    dataset = read_dataset(lgg_root, choice=Choice([f"{first}/*"], ["*_2.tif"]))
    assert dataset.kind == "lgg" and dataset.patients == (first,)
    assert [record.index for record in dataset.slices] == [
        record.index for record in whole.select([first]).slices if record.index != 2
    ]


def test_images_that_cannot_be_used(images, caplog):
    whole = read_dataset(images)
    (images / "p1/t1.png").write_text("no image")
    write_image(images / "p2/t2.png", np.stack([GREY] * 3, -1))
    (images / "p3/t1_mask.png").write_text("no mask")
    calls = []
    taken, failures = usable(whole, progress=lambda *call: calls.append(call))
    assert [failure.path for failure in failures] == [images / "p1/t1.png"]
    assert set(names(whole)) - set(names(taken)) == {"p1/t1.png", "p2/t2.png"}
    assert calls[-1] == (12, 12)
    assert "p2/t2.png has 3 channel(s), and most have 1" in caplog.text
    assert "p1/t1.png is not a PNG" in caplog.text
    assert len(usable(whole, any_channels=True)[0]) == 11
    assert {failure.path.name for failure in usable(whole, masks=True)[1]} == {"t1.png"}
    assert len(usable(whole, masks=True)[1]) == 2


def test_the_split_of_the_others_stays(images):
    whole = read_dataset(images)
    before = split_patients(whole.sites, seed=1)
    [moved] = [patient for patient in ("p0", "p1", "p2") if patient in before.train][:1]
    for path in (images / moved).glob("t?.png"):
        path.write_text("no image")
    taken, _ = usable(whole)
    after = split_patients(taken.sites, seed=1)
    assert set(after.train) == set(before.train) - {moved}
    assert (after.val, after.test) == (before.val, before.test)


def test_volumes_that_cannot_be_used(volumes, caplog):
    whole = (volumes / "b.nii").read_bytes()
    (volumes / "b.nii").write_bytes(whole[:-20])
    dataset = read_dataset(volumes)
    taken, failures = usable(dataset)
    assert names(taken) == ["a.nii"] and [failure.path.name for failure in failures] == ["b.nii"]
    assert "c.nii is 4-D: it holds 2 volumes" in caplog.text  # Not a failure.
    report = inspect_dataset(dataset)
    assert report.total.slices == 4 and [failure.path.name for failure in report.failures] == ["b.nii"]
    assert {finding.kind for finding in report.dataset.findings} == {"unreadable", "unfit"}
    (volumes / "a.nii").write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"a\.nii is broken or cut off"):
        usable(dataset)
