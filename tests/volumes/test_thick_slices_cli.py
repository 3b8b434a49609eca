"""`mrisr upscale` on stacks of thick slices: which way they go, and what comes out as NIfTI and DICOM."""

import json
import shutil
import subprocess

import nibabel
import numpy as np
import pydicom
import pytest

from keras_mrisr import pretrained
from keras_mrisr.volumes import read_volume

SHAPE = (12, 10, 6)


@pytest.fixture
def place(tmp_path, monkeypatch, models, thick_model, phantom, axial, dicom_series):
    """The folder to stand in: `head.nii.gz` of 0.75 x 0.75 x 3 mm, the same as DICOM in `study`.

    The bundled models are `grey`, which makes planes finer by 2, and `thick`.
    """
    bundled = tmp_path / "bundled"
    shutil.copytree(models["grey"], bundled / "grey")
    info = json.loads((bundled / "grey/model.json").read_text())
    (bundled / "grey/model.json").write_text(json.dumps({**info, "data": {"separate_channels": True}}))
    shutil.copytree(thick_model, bundled / "thick")
    monkeypatch.setattr(pretrained, "FOLDER", bundled)
    here = tmp_path / "here"
    here.mkdir()
    array = phantom(SHAPE, axial).astype("int16")
    nibabel.save(nibabel.Nifti1Image(array, axial), here / "head.nii.gz")
    dicom_series(here / "study", array, axial, SliceThickness="2.4")
    monkeypatch.chdir(here)
    return here


def corners(volume):
    ends = np.array(list(np.ndindex(2, 2, 2))) * volume.shape - 0.5
    return ends @ volume.affine[:3, :3].T + volume.affine[:3, 3]


def box(volume):
    """Lowest and highest coordinates, in mm: the same however the axes run."""
    return corners(volume).min(axis=0), corners(volume).max(axis=0)


def test_thick_slices_become_thin_and_others_get_finer_planes(place, mrisr, axial, phantom):
    code, out, err = mrisr("upscale", "head.nii.gz", "sr.nii.gz", "--figure", "sr.png")
    assert (code, err) == (0, "")
    assert "Model: thick (thick slices made thin, by 1.5 to 8 times, any contrast)" in out
    assert "voxels of 0.75 x 0.75 x 3 mm, 12 x 10 x 6; made isotropic: 0.75 x 0.75 x 0.75 mm" in out
    assert "12 x 10 x 24" in out and "Wrote sr.nii.gz, sr.png" in out
    assert "Verdict: Within what thick was made for; " in out
    lr, sr = read_volume(place / "head.nii.gz"), read_volume(place / "sr.nii.gz")
    assert sr.shape == (12, 10, 24) and sr.array.dtype == np.int16
    np.testing.assert_allclose(corners(sr), corners(lr), atol=1e-4)
    assert (place / "sr.png").read_bytes().startswith(b"\x89PNG")

    code, out, _ = mrisr("upscale", "head.nii.gz", "flat.nii.gz", "--in-plane")
    assert code == 0 and "Model: grey" in out and read_volume(place / "flat.nii.gz").shape == (24, 20, 6)
    code, out, _ = mrisr("upscale", "head.nii.gz", "scale.nii.gz", "--scale", "2")
    assert code == 0 and read_volume(place / "scale.nii.gz").shape == (24, 20, 6)
    code, out, _ = mrisr("upscale", "head.nii.gz", "mm.nii.gz", "--spacing", "0.75x0.75x1.5")
    assert code == 0 and read_volume(place / "mm.nii.gz").shape == (12, 10, 12)


def test_a_folder_of_both(place, mrisr, phantom):
    scans = place / "scans"
    scans.mkdir()
    shutil.copy(place / "head.nii.gz", scans)
    thin = np.diag([1.0, 1, 1, 1])
    nibabel.save(nibabel.Nifti1Image(phantom((8, 9, 7), thin).astype("int16"), thin), scans / "thin.nii")
    code, out, err = mrisr("upscale", "scans", "sr", "--consistency")
    assert (code, err) == (0, "")
    assert "Verdict: Within what thick and grey was made for" in out or "grey" in out.split("Verdict")[1]
    assert read_volume(place / "sr/head.nii.gz").shape == (12, 10, 24)
    assert read_volume(place / "sr/thin.nii").shape == (16, 18, 7)
    residual = json.loads((place / "sr/head.json").read_text())
    assert residual["model"] == "thick" and residual["residual"]["after"] <= residual["residual"]["before"]


def test_a_new_series_of_dicom(place, mrisr):
    words = ["--consistency", "--uncertainty", "std"]
    code, out, err = mrisr("upscale", "study", "sr", *words)
    assert (code, err) == (0, "")
    assert "slices of 2.4 mm, 3 mm apart" in out
    files = sorted((place / "sr").glob("*.dcm"))
    assert len(files) == len(list((place / "std").glob("*.dcm"))) == 24
    headers = [pydicom.dcmread(file) for file in files]
    assert [header.InstanceNumber for header in headers] == list(range(1, 25))
    old = pydicom.dcmread(next((place / "study").iterdir()))
    assert {header.SeriesInstanceUID for header in headers}.isdisjoint({old.SeriesInstanceUID})
    for header in headers:  # Restored lines have no gaps.
        assert header.SliceThickness == header.SpacingBetweenSlices == 0.75
        assert header.PixelSpacing == old.PixelSpacing
    steps = np.diff([header.ImagePositionPatient for header in headers], axis=0)
    np.testing.assert_allclose(steps, np.tile([0, 0, 0.75], (23, 1)), atol=1e-6)
    lr, sr = read_volume(place / "study"), read_volume(place / "sr")
    np.testing.assert_allclose(corners(sr), corners(lr), atol=1e-4)
    assert lr.slice_thickness == 2.4 and sr.slice_thickness == 0.75
    sitk = pytest.importorskip("SimpleITK")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(place / "sr"))
    image = sitk.ReadImage(names)
    assert image.GetSize() == (12, 10, 24)
    np.testing.assert_allclose(image.GetSpacing(), 0.75, atol=1e-6)
    far = image.TransformContinuousIndexToPhysicalPoint([11.5, 9.5, 23.5])
    np.testing.assert_allclose(np.array(far) * (-1, -1, 1), corners(lr)[-1], atol=1e-4)
    converter = pytest.importorskip("dcm2niix")
    run = [converter.bin, "-b", "n", "-z", "n", "-f", "sr", "-o", str(place), str(place / "sr")]
    subprocess.run(run, check=True, capture_output=True)
    converted = read_volume(place / "sr.nii")
    assert sorted(converted.shape) == [10, 12, 24]
    np.testing.assert_allclose(box(converted), box(lr), atol=1e-4)


def test_one_file_of_many_frames(place, mrisr, phantom, axial, enhanced_series):
    enhanced_series(place / "many.dcm", phantom(SHAPE, axial).astype("uint16"), axial)
    assert read_volume(place / "many.dcm").slice_thickness == 3
    assert mrisr("upscale", "many.dcm", "sr.dcm")[::2] == (0, "")
    header = pydicom.dcmread(place / "sr.dcm")
    assert header.NumberOfFrames == 24
    measures = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SliceThickness == measures.SpacingBetweenSlices == 0.75
    np.testing.assert_allclose(
        corners(read_volume(place / "sr.dcm")), corners(read_volume(place / "many.dcm")), atol=1e-4
    )


def test_slice_thickness_of_a_sidecar(place, mrisr):
    (place / "head.json").write_text(json.dumps({"SliceThickness": 2.5}))
    assert read_volume(place / "head.nii.gz").slice_thickness == 2.5
    _, out, _ = mrisr("upscale", "head.nii.gz", "sr.nii.gz")
    assert "slices of 2.5 mm, 3 mm apart" in out
    _, out, _ = mrisr("upscale", "head.nii.gz", "again.nii.gz", "--slice-thickness", "3")
    assert "apart" not in out
    for text in ("no JSON", '{"SliceThickness": "thick"}', '{"SliceThickness": -1}', "[]"):
        (place / "head.json").write_text(text)
        assert read_volume(place / "head.nii.gz").slice_thickness is None


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--model", "thick", "--in-plane"], "thick makes thick slices thin: leave out --in-plane"),
        (["--model", "grey", "--through-plane"], "grey makes planes finer by 2: leave out --through-plane"),
        (["--model", "grey", "--spacing", "1"], "leave out --spacing, or give --model one that makes thick"),
        (["--model", "grey", "--slice-thickness", "3"], "leave out --slice-thickness"),
        (["--model", "thick", "--scale", "2"], "--spacing says how thin. Leave out --scale"),
        (["--spacing", "1", "--scale", "2"], "--scale makes planes finer. Leave it out"),
        (["--spacing", "x"], "--spacing is one number of millimetres over 0"),
        (["--spacing", "0.3"], "from 3 to 0.3 mm is a factor of 10; at most 8 can be restored"),
        (["--spacing", "4"], "makes no axis finer by 1.2 or more"),
        (["--slice-thickness", "30"], "differ by more than 3 times: give the right --slice-thickness"),
        (["--in-plane", "--spacing", "1"], "--spacing is for thick slices made thin"),
        (["--memory", "1MB"], "of memory are too little"),
    ],
)
def test_what_is_refused(place, mrisr, listing, words, part):
    before = listing(place)
    code, _, err = mrisr("upscale", "head.nii.gz", "sr.nii.gz", *words)
    assert code == 2 and part in err and err.count("\n") == 1, err
    assert listing(place) == before


def test_other_inputs_that_are_refused(place, mrisr, axial, phantom, smooth_image):
    from keras_mrisr.data import write_image

    array = phantom(SHAPE, axial).astype("int16")
    nibabel.save(nibabel.Nifti1Image(np.stack([array, array + 1], -1), axial), place / "4d.nii")
    nibabel.save(nibabel.Nifti1Image(array[..., :1], axial), place / "one.nii")
    write_image(place / "image.png", smooth_image(8, 8))
    for source, target, words, part in (
        ("4d.nii", "sr.nii", [], "--volume-index"),
        ("one.nii", "sr.nii", ["--through-plane"], "nothing lies between slices"),
        ("image.png", "sr.png", ["--through-plane"], "leave out --through-plane"),
        ("image.png", "sr.png", ["--spacing", "1"], "leave out --spacing"),
        (
            "image.png",
            "sr.png",
            ["--model", "thick"],
            "thick makes the slices of a volume thin, and image.png",
        ),
    ):
        code, _, err = mrisr("upscale", source, target, *words)
        assert code == 2 and part in err and err.count("\n") == 1, err
        assert not (place / target).exists()
    assert mrisr("upscale", "4d.nii", "sr.nii", "--volume-index", "1")[::2] == (0, "")
    assert read_volume(place / "sr.nii").shape == (12, 10, 24)
    assert mrisr("upscale", "one.nii", "one-sr.nii")[::2] == (0, "")
    assert read_volume(place / "one-sr.nii").shape == (24, 20, 1)


def test_models(place, mrisr):
    code, out, err = mrisr("models")
    assert (code, err) == (0, "")
    assert (
        "thick" in out and "thick slices made thin, by 1.5 to 8 times, any contrast" in out and "grey" in out
    )
    code, out, _ = mrisr("models", "show", "thick")
    assert code == 0 and "The card of thick." in out
    code, _, err = mrisr("evaluate", "--model", "thick", "--data", ".", "--out", "scores")
    assert code == 2 and err.count("\n") == 1
