"""`mrisr upscale` on NIfTI files and DICOM series: what comes out, and every kind of bad input."""

import gzip
import json
import re
import resource
import shutil

import nibabel
import numpy as np
import pydicom
import pytest

from keras_mrisr.degrade import get_degradation
from keras_mrisr.inference import SuperResolver
from keras_mrisr.volumes import read_volume

SHAPE = (12, 10, 6)


@pytest.fixture
def place(tmp_path, monkeypatch, models, phantom, axial, dicom_series):
    """The folder to stand in: `head.nii.gz`, the same as DICOM in `study`, and models `grey`, `rgb`, `x4`."""
    array = phantom(SHAPE, axial).astype("int16")
    nibabel.save(nibabel.Nifti1Image(array, axial), tmp_path / "head.nii.gz")
    dicom_series(tmp_path / "study", array, axial, uid="1.2.7")
    for name, folder in models.items():
        shutil.copytree(folder, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def upscale(mrisr):
    def run(source, target, *words, model="grey"):
        return mrisr("upscale", source, target, "--model", model, *words)

    return run


@pytest.fixture
def refused(upscale, listing, place):
    """A function (source, target, words, parts) that runs what must be refused properly."""

    def check(source, target, *words, parts, code=2, **options):
        before = listing(place)
        done, _, err = upscale(source, target, *words, **options)
        assert err.count("\n") == 1, err
        assert err.startswith("mrisr")
        for part in parts:
            assert part in err, err
        assert done == code
        assert listing(place) == before

    return check


@pytest.mark.parametrize(
    ("source", "target"), [("head.nii.gz", "sr.nii"), ("study", "sr"), ("study", "sr.nii.gz")]
)
def test_forms(place, upscale, axial, source, target):
    code, out, err = upscale(source, target)
    assert (code, err) == (0, "")
    assert "slices are axial" in out
    assert f"Wrote {target}\n" in out if "." in target else "Wrote 6 files to sr\n" in out
    lr, sr = read_volume(place / source), read_volume(place / target)
    assert sr.array.dtype == np.int16
    assert sr.shape == (24, 20, 6)
    np.testing.assert_allclose(sr.spacing, (0.375, 0.375, 3))
    corner = [-0.5, -0.5, -0.5, 1]
    np.testing.assert_allclose(sr.affine @ corner, lr.affine @ corner, atol=1e-4)
    # The untrained network interpolates: the mean of each voxel's pixels is near it.
    means = sr.array.reshape(12, 2, 10, 2, 6).mean((1, 3))
    np.testing.assert_allclose(means, lr.array, atol=0.02 * lr.array.max())


def test_nifti_into_a_folder(place, upscale):
    (place / "out").mkdir()
    assert upscale("head.nii.gz", "out")[::2] == (0, "")
    assert read_volume(place / "out/head.nii.gz").shape == (24, 20, 6)


def test_options(place, upscale):
    words = ["--plane", "sagittal", "--uncertainty", "std.nii", "--consistency", "--memory", "100GB"]
    code, out, err = upscale("study", "sr.nii", *words)
    assert (code, err) == (0, "")
    assert "Wrote sr.nii, " in out and "Residual against the measured image" in out
    sr, deviation = read_volume(place / "sr.nii"), read_volume(place / "std.nii")
    assert sr.shape == deviation.shape == (12, 20, 12)
    np.testing.assert_array_equal(sr.affine, deviation.affine)
    assert deviation.array.dtype == np.float32
    assert deviation.array.min() >= 0
    residual = json.loads((place / "sr.json").read_text())["residual"]
    assert residual["after"] <= residual["before"]
    assert upscale("study", "sr.nii", *words, "--overwrite")[::2] == (0, "")


def test_consistency_in_k_space(place, upscale):
    info = json.loads((place / "grey/model.json").read_text())
    degradation = get_degradation("kspace", 2, magnitude=False)
    info["degradation"] = degradation.to_dict()
    (place / "grey/model.json").write_text(json.dumps(info))
    array = read_volume(place / "head.nii.gz").array.astype("float32")
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 3, 1])), place / "float.nii")
    assert upscale("float.nii", "sr.nii", "--consistency")[::2] == (0, "")
    sr = read_volume(place / "sr.nii").array
    again = np.stack([degradation.degrade(sr[:, :, [z]])[..., 0] for z in range(6)], axis=2)
    np.testing.assert_allclose(again, array, atol=1e-4 * array.max())
    assert json.loads((place / "sr.json").read_text())["residual"]["relative_written"] < 1e-5


def test_consistency_of_images(place, upscale, smooth_image):
    from keras_mrisr.data import write_image

    for number in range(2):
        write_image(place / f"images/{number}.png", smooth_image(16, 16, seed=number))
    assert upscale("images", "sr.d", "--consistency")[::2] == (0, "")
    residual = json.loads((place / "sr.d.json").read_text())["residual"]
    assert residual["images"] == 2
    assert residual["after"] < 0.5 <= residual["before"]
    assert upscale("images/0.png", "one.png", "--consistency")[::2] == (0, "")
    assert (place / "one.json").is_file()


def test_a_volume_of_many(place, upscale, refused, axial):
    array = np.arange(1, 4) * np.random.default_rng(0).integers(1, 300, (*SHAPE, 1))
    nibabel.save(nibabel.Nifti1Image(array.astype("int16"), axial), place / "4d.nii")
    refused("4d.nii", "sr.nii", parts=["4d.nii is 4-D", "--volume-index 0 to 2"])
    refused("4d.nii", "sr.nii", "--volume-index", 3, parts=["numbered from 0. Received: --volume-index 3"])
    assert upscale("4d.nii", "sr.nii", "--volume-index", 1)[::2] == (0, "")
    np.testing.assert_allclose(read_volume(place / "sr.nii").array.mean(), array[..., 1].mean(), rtol=0.05)


def test_one_of_several_series(place, upscale, refused, dicom_series, axial):
    array = np.random.default_rng(0).integers(1, 300, (8, 8, 4)).astype("uint16")
    dicom_series(place / "study/more", array, axial, uid="1.2.8", SeriesNumber=5, SeriesDescription="t2")
    refused("study", "sr", parts=["several series. Choose one with --series", "3 't1 phantom'", "5 't2'"])
    refused("study", "sr", "--series", "9", parts=["no series '9'"])
    assert upscale("study", "sr", "--series", "t2")[::2] == (0, "")
    assert read_volume(place / "sr").shape == (16, 16, 4)


def test_one_slice(place, upscale, axial):
    array = np.random.default_rng(0).integers(1, 300, (12, 1, 10)).astype("int16")
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 1, 1])), place / "one.nii")
    assert upscale("one.nii", "sr.nii")[::2] == (0, "")
    assert read_volume(place / "sr.nii").shape == (24, 1, 20)
    files = sorted((place / "study").iterdir())
    assert upscale(files[0], "sr.dcm")[::2] == (0, "")
    assert read_volume(place / "sr.dcm").shape == (24, 20, 1)


def with_values(change):
    def write(place, axial):
        array = np.array(nibabel.load(place / "head.nii.gz").dataobj).astype("float32")
        change(array)
        nibabel.save(nibabel.Nifti1Image(array, axial), place / "bad.nii")

    return write


def cut(place, axial):
    content = (place / "head.nii.gz").read_bytes()
    (place / "bad.nii.gz").write_bytes(content[: len(content) // 2])


def cut_inside(place, axial):
    """A whole gzip of half a file."""
    content = gzip.decompress((place / "head.nii.gz").read_bytes())
    (place / "bad.nii.gz").write_bytes(gzip.compress(content[: len(content) // 2]))


def sheared(place, axial):
    axial[0, 1] = 0.3
    nibabel.save(nibabel.Nifti1Image(np.indices(SHAPE)[0].astype("int16"), axial), place / "bad.nii")


NIFTI = {
    "nan": (with_values(lambda a: a.__setitem__((1, 2, 3), np.nan)), "bad.nii holds 1 NaN or infinite"),
    "infinite": (with_values(lambda a: a.__setitem__(slice(2), -np.inf)), "bad.nii holds 120 NaN or inf"),
    "black": (with_values(lambda a: a.fill(0)), "bad.nii is 0.0 in every voxel: there is nothing to upscale"),
    "constant": (with_values(lambda a: a.fill(7)), "bad.nii is 7.0 in every voxel"),
    "cut off": (cut, "bad.nii.gz is broken or cut off"),
    "cut off inside": (cut_inside, "bad.nii.gz is broken or cut off"),
    "empty": (lambda place, axial: (place / "bad.nii").write_bytes(b""), "bad.nii is broken or cut off"),
    "text": (lambda place, axial: (place / "bad.nii").write_text("head"), "bad.nii is broken or cut off"),
    "sheared": (sheared, "bad.nii has a sheared affine"),
}


@pytest.mark.parametrize("kind", NIFTI)
def test_bad_nifti(place, refused, axial, kind):
    write, message = NIFTI[kind]
    write(place, axial)
    [source] = place.glob("bad.nii*")
    refused(source.name, "sr.nii.gz", parts=[message])


def change(place, number, **tags):
    path = sorted((place / "study").iterdir())[number]
    dataset = pydicom.dcmread(path)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def change_all(place, **tags):
    for number in range(SHAPE[2]):
        change(place, number, **tags)


def remove(place, number):
    sorted((place / "study").iterdir())[number].unlink()


def duplicate(place):
    first = sorted((place / "study").iterdir())[0]
    shutil.copy(first, place / "study/again")
    change(place, 0, SOPInstanceUID="1.2.3.4.5")


def colour(place):
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    for number in range(SHAPE[2]):
        change(place, number, **rgb, PixelData=bytes(12 * 10 * 3), BitsAllocated=8, BitsStored=8, HighBit=7)


def cut_dicom(place):
    path = sorted((place / "study").iterdir())[2]
    path.write_bytes(path.read_bytes()[:-100])


DICOM = {
    "missing slice": (lambda place: remove(place, 2), "study lacks a slice between"),
    "duplicate position": (duplicate, "2 images at one position"),
    "two orientations": (
        lambda place: change(place, 1, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        "2 orientations (5 and 1 images)",
    ),
    "mixed sizes": (
        lambda place: change(place, 1, Rows=5, Columns=6, PixelData=bytes(60)),
        "2 sizes (5 of 12x10, 1 of 6x5)",
    ),
    "only a localizer": (
        lambda place: change_all(place, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "it is a localizer",
    ),
    "colour": (colour, "it is a colour image"),
    "ct": (lambda place: change_all(place, Modality="CT"), "its modality is CT, not MR"),
    "cut off": (cut_dicom, "study/image"),
    "black": (lambda place: change_all(place, PixelData=bytes(240)), "study is 0 in every voxel"),
    "tilted": (
        lambda place: [change(place, n, ImagePositionPatient=[-90, -110 - n, -3.0 * n]) for n in range(6)],
        "study has a sheared affine",
    ),
}


@pytest.mark.parametrize("kind", DICOM)
def test_bad_dicom(place, refused, kind):
    spoil, message = DICOM[kind]
    spoil(place)
    refused("study", "sr", parts=[message])
    refused("study", "sr.nii.gz", parts=[message])


def test_what_lies_among_the_images_is_left_out(place, upscale, dicom_series, axial):
    (place / "study/notes.txt").write_text("patient moved")
    (place / "study/preview.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    scout = np.random.default_rng(0).integers(1, 300, (8, 8, 1)).astype("int16")
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dicom_series(place / "study/scout", scout, axial, uid="1.2.8", SeriesNumber=1, ImageType=kind)
    code, out, err = upscale("study", "sr")
    assert code == 0
    assert "2 file(s) without a DICOM image left out: " in out
    assert "it is a localizer" in err
    assert read_volume(place / "sr").shape == (24, 20, 6)


def test_wrong_options(place, refused):
    source, target = "head.nii.gz", "sr.nii.gz"
    refused(source, target, "--plane", "oblique", parts=["--plane: invalid choice: 'oblique'"])
    refused(source, target, "--memory", "lots", parts=["such as 2GB. Received: 'lots'"])
    refused(source, target, "--memory", "20MB", parts=["of memory are too little"])
    refused(source, target, "--scale", 4, parts=["grey is a model for x2. Received: --scale 4"])
    refused(source, target, "--volume-index", 1, parts=["1 volume(s), numbered from 0"])
    refused(source, target, "--uncertainty", "head.nii.gz", parts=["head.nii.gz is or holds the source"])
    refused(source, target, "--uncertainty", target, parts=["sr.nii.gz cannot hold sr.nii.gz"])
    refused(source, target, model="rgb", parts=["head.nii.gz has 1 channel(s), but rgb is for images of 3"])


def test_targets(place, refused):
    refused("head.nii.gz", "sr", parts=["sr should end in .nii or .nii.gz: head.nii.gz is not DICOM"])
    refused("head.nii.gz", "head.nii.gz", "--overwrite", parts=["is or holds the source"])
    refused("study", "study", "--overwrite", parts=["is or holds the source"])
    refused("study", "sr.png", parts=["sr.png has no ending that can be written"])
    for name in ("old.nii.gz", "old/thesis.txt", "new.json"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text("years of work")
    refused("head.nii.gz", "old.nii.gz", parts=["old.nii.gz exists. Choose another name or pass --overwrite"])
    refused("study", "old", parts=["old exists and is not empty"])
    refused("study", "old", "--overwrite", parts=["old holds thesis.txt", "choose another folder"])
    words = ["--consistency", "--uncertainty", "std.nii"]
    refused("head.nii.gz", "new.nii.gz", *words, parts=["new.json exists"])
    refused("head.nii.gz", "sr.nii.gz", "--uncertainty", "old.nii.gz", parts=["old.nii.gz exists"])
    refused("head.nii.gz", "old/thesis.txt/sr.nii.gz", parts=["old/thesis.txt is not a writable folder"])


def test_outputs_that_are_in_each_other_s_way(place, refused, dicom_series, axial):
    refused("study", "o/sr", "--uncertainty", "o", parts=["o cannot hold o/sr", "need names apart"])
    refused("study", "o", "--uncertainty", "o/std.nii.gz", parts=["o cannot hold o/std.nii.gz"])
    refused("study", "o", "--uncertainty", "./o", parts=["o cannot hold o"])
    words = ["--uncertainty", "sr.json", "--consistency"]
    refused("study", "sr", *words, parts=["sr.json cannot hold sr.json"])


def test_one_slice_that_becomes_several_is_refused_before_the_work(place, refused, monkeypatch):
    monkeypatch.setattr(SuperResolver, "predict", None)
    source = sorted((place / "study").iterdir())[0]
    words = ["--plane", "sagittal"]
    refused(source, "sr.dcm", *words, parts=["sr.dcm is one file, but there are 2 slices. Name a folder"])


def test_only_a_residual_is_replaced_by_one(place, upscale, refused, smooth_image):
    from keras_mrisr.data import write_image

    write_image(place / "head.png", smooth_image(16, 16))
    for source, target in (("head.nii.gz", "sr.nii.gz"), ("head.png", "sr.png")):
        for content in ('{"EchoTime": 0.09}', "[1, 2]", "residual"):  # The first as BIDS has it.
            (place / "sr.json").write_text(content)
            words = ["--consistency", "--overwrite"]
            refused(source, target, *words, parts=["sr.json is no residual of ours: it is not replaced"])
        (place / "sr.json").unlink()
        assert upscale(source, target, "--consistency")[0] == 0
        assert upscale(source, target, "--consistency", "--overwrite")[::2] == (0, "")


def test_options_of_volumes_for_images(place, refused, smooth_image):
    from keras_mrisr.data import write_image

    write_image(place / "images/0.png", smooth_image(16, 16))
    words = {"--plane": "axial", "--volume-index": 0, "--series": "t1", "--uncertainty": "std.png"}
    for word, value in words.items():
        refused("images", "sr", word, value, parts=[f"images is no NIfTI or DICOM: leave out {word}."])


def test_folders_without_anything_to_upscale(place, refused):
    (place / "empty").mkdir()
    refused("empty", "sr", parts=["empty holds no images (.png, ", "and no volumes (.nii, .nii.gz, "])


@pytest.fixture
def folder(place):
    """Two volumes in a folder and below, and a mask."""
    (place / "more/sub").mkdir(parents=True)
    for name in ("b.nii", "sub/a.nii.gz", "sub/a_mask.nii.gz"):
        nibabel.save(nibabel.load(place / "head.nii.gz"), place / "more" / name)
    return place / "more"


def test_a_folder_of_volumes(place, folder, upscale, listing):
    assert upscale("head.nii.gz", "one.nii.gz", "--plane", "sagittal")[0] == 0
    words = ["--plane", "sagittal", "--consistency"]
    code, out, err = upscale("more", "sr", *words[:2])
    assert (code, err) == (0, "")
    assert "1 masks" in out and "Wrote sr/b.nii, sr/sub/a.nii.gz\n" in out
    assert sorted(listing(place / "sr")) == ["b.nii", "sub", "sub/a.nii.gz"]
    expected = read_volume(place / "one.nii.gz")
    for name in ("b.nii", "sub/a.nii.gz"):
        np.testing.assert_array_equal(read_volume(place / "sr" / name).array, expected.array)
    assert upscale("more", "sr", *words, "--overwrite")[::2] == (0, "")
    assert sorted(listing(place / "sr")) == ["b.json", "b.nii", "sub", "sub/a.json", "sub/a.nii.gz"]
    assert upscale("more", "sr", "--overwrite")[::2] == (0, "")


def test_a_folder_of_volumes_without_a_model(folder, mrisr):
    code, out, _ = mrisr("upscale", "more", "sr", "--in-plane")
    assert code == 0
    assert "Model: any-x2" in out


def test_folders_of_volumes_that_are_refused(place, folder, refused, upscale):
    refused("more", "more", parts=["more is the source itself"])
    refused("more", "more/sr", parts=["more/sr lies in the source"])
    for word in ("--series", "--uncertainty"):
        refused("more", "sr", word, "x", parts=["more is a folder of NIfTI volumes", f"for {word}."])
    assert upscale("more", "sr")[0] == 0
    refused("more", "sr", parts=["sr exists and is not empty"])
    refused("more/b.nii", "b.nii", "--skip-existing", "--overwrite", parts=["leave out one"])
    shutil.copy(folder / "b.nii", folder / "sub/a.nii")
    refused("more", "new", "--consistency", parts=["more holds a volume under two endings"])


def test_a_folder_with_4d_and_broken_files(place, folder, upscale, listing):
    bold = np.zeros((6, 6, 4, 3), "int16")
    nibabel.save(nibabel.Nifti1Image(bold, np.eye(4)), folder / "bold.nii.gz")
    code, out, err = upscale("more", "sr")
    assert code == 0 and "Wrote sr/b.nii, sr/sub/a.nii.gz\n" in out
    assert err.count("\n") == 1 and "Left out: more/bold.nii.gz is 4-D: it holds 3 volumes" in err
    (folder / "a.nii").write_text("no volume")
    code, out, err = upscale("more", "new")
    assert code == 1 and "Wrote new/b.nii, new/sub/a.nii.gz\n" in out
    assert "Failed: more/a.nii is broken" in err
    assert err.splitlines()[-1].startswith(
        "mrisr: error: 1 file could not be upscaled; all others are done. more/a"
    )
    assert sorted(listing(place / "new")) == ["b.nii", "sub", "sub/a.nii.gz"]
    (place / "new/b.nii").unlink()
    code, out, err = upscale("more", "new", "--skip-existing", "--exclude", "a.nii", "--exclude", "bold*")
    assert (code, err) == (0, "") and "Wrote new/b.nii\n" in out and "1 of 2 results are there" in out
    code, out, err = upscale("more", "new", "--skip-existing", "--include", "sub/*")
    assert (code, err) == (0, "") and "Nothing is missing in new" in out


def test_volumes_among_images_are_left_out_and_it_is_said(place, folder, upscale, smooth_image):
    from keras_mrisr.data import write_image

    write_image(folder / "figure.png", smooth_image(16, 16))
    code, out, err = upscale("more", "sr")
    assert code == 0
    assert "Wrote sr/figure.png\n" in out
    assert "more also holds 2 volumes, which are left out" in err


@pytest.mark.parametrize(("source", "target"), [("head.nii.gz", "new/sr.nii"), ("study", "new/sr")])
@pytest.mark.parametrize("overwrite", [False, True])
def test_interrupt(place, upscale, refused, monkeypatch, source, target, overwrite):
    words = []
    if overwrite:
        assert upscale(source, target)[0] == 0
        words = ["--overwrite"]
    monkeypatch.setattr("keras_mrisr.inference.SuperResolver.pixels_together", 1)
    forward, calls = SuperResolver._forward, []

    def interrupted(self, lr):
        calls.append(lr.shape)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forward(self, lr)

    monkeypatch.setattr(SuperResolver, "_forward", interrupted)
    refused(source, target, *words, parts=["mrisr: error: stopped"], code=130)
    assert len(calls) == 3


# nibabel leaves a file open that it could not write.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("source", "target"), [("head.nii.gz", "new/sr.nii"), ("study", "new/sr")])
def test_full_disk(place, upscale, refused, source, target):
    """Writing ends after 1000 bytes, as on a disk that has no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert upscale(source, target)[0] == 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        refused(source, target, "--overwrite", parts=["Cannot write new/sr", "File too large"])
        shutil.rmtree(place / "new")
        refused(source, target, parts=["Cannot write new/sr", "File too large"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_nan_as_background(place, upscale, refused, axial):
    with_values(lambda a: a.__setitem__(slice(2), np.nan))(place, axial)
    refused("bad.nii", "sr.nii", parts=["bad.nii holds 120 NaN or infinite voxels", "--nan zero takes them"])
    code, out, err = upscale("bad.nii", "sr.nii", "--nan", "zero", "--figure", "sr.png")
    assert (code, err) == (0, "")
    assert "Wrote sr.nii, sr.png\nVerdict: Grey does not say which sizes it was made for; " in out
    sr = read_volume(place / "sr.nii").array
    assert not sr[:4].any() and np.isfinite(sr).all()
    assert (place / "sr.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_to_look_at(place, upscale, refused):
    code, out, err = upscale("head.nii.gz", "sr.nii", "--uncertainty", "std.nii", "--report", "page.html")
    assert (code, err) == (0, "")
    assert "Wrote sr.nii, std.nii, page.html\n" in out
    page = (place / "page.html").read_text(encoding="utf-8")
    verdict = re.search("Verdict: (.*)", out)[1]
    assert (
        verdict in page
        and "12 x 10 x 6" in page
        and "24 x 20 x 6" in page
        and 'id="file-uncertainty"' in page
    )
    refused("head.nii.gz", "b.nii", "--report", "page.html", parts=["page.html exists", "--overwrite"])
    refused(
        "head.nii.gz", "b.nii", "--report", "page.json", parts=["page.json is no page", "End it in .html"]
    )
    refused("head.nii.gz", "page.html/b.nii", "--report", "page.html", parts=["page.html"])


def test_a_network_that_diverged(place, refused, monkeypatch):
    monkeypatch.setattr(SuperResolver, "_forward", lambda self, lr: np.full((len(lr), 24, 20, 1), np.nan))
    for source, target in (("head.nii.gz", "sr.nii"), ("head.nii.gz", "sr.mgz"), ("study", "sr")):
        refused(source, target, parts=["grey gives 480 NaN or infinite values, first in slice 0 "])
    (place / "folder").mkdir()
    shutil.copy(place / "head.nii.gz", place / "folder")
    refused("folder", "sr", parts=["grey gives 480 NaN or infinite values"])


def test_the_way_to_and_from_mgz(place, upscale, refused):
    assert upscale("head.nii.gz", "sr.mgz", "--consistency")[::2] == (0, "")
    assert read_volume(place / "sr.mgz").shape == (24, 20, 6)
    assert (place / "sr.json").is_file()
    (place / "out").mkdir()
    assert upscale("sr.mgz", "out")[::2] == (0, "")
    assert read_volume(place / "out/sr.mgz").shape == (48, 40, 6)
    assert upscale("sr.mgz", "back.nii.gz")[::2] == (0, "")
