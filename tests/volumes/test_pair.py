import gzip

import nibabel
import numpy as np
import pytest
from nibabel.nifti2 import Nifti2Pair

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import read_volume, write_volume


@pytest.mark.parametrize("image_class", [nibabel.Nifti1Pair, Nifti2Pair])
@pytest.mark.parametrize("given", [".hdr", ".img"])
@pytest.mark.parametrize("zipped", ["", ".gz"])
def test_both_halves_of_a_pair(tmp_path, phantom, oblique, image_class, given, zipped):
    array = phantom((10, 8, 5), oblique).astype("int16")
    image = image_class(array, oblique)
    image.header["descrip"] = b"TE=90"
    nibabel.save(image, tmp_path / f"p.1[a].img{zipped}")
    volume = read_volume(tmp_path / f"p.1[a]{given}{zipped}")
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, oblique, atol=1e-5)
    assert len(volume.source.paths) == 2
    write_volume(volume.upscaled(array.repeat(2, 0), (2, 1, 1), "made"), tmp_path / "out.nii.gz")
    after = nibabel.load(tmp_path / "out.nii.gz")
    assert after.header["descrip"].item() == b"TE=90; made"
    np.testing.assert_array_equal(after.dataobj, array.repeat(2, 0))
    with pytest.raises(MrisrError, match="is or holds the source"):
        write_volume(volume, tmp_path / f"p.1[a].hdr{zipped}", overwrite=True)


@pytest.mark.parametrize("image_class", [nibabel.AnalyzeImage, nibabel.Spm99AnalyzeImage])
def test_analyze_lies_where_nibabel_puts_it(tmp_path, phantom, axial, caplog, image_class):
    array = phantom((10, 8, 5), axial).astype("int16")
    nibabel.save(image_class(array, axial), tmp_path / "a.img")
    (tmp_path / "a.mat").unlink(missing_ok=True)  # SPM's own affine, without which only sizes are known.
    volume = read_volume(tmp_path / "a.img")
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, nibabel.load(tmp_path / "a.img").affine)
    assert "does not tell left from right" in caplog.text


def test_a_half_that_is_alone(tmp_path, axial):
    nibabel.save(nibabel.Nifti1Pair(np.ones((4, 4, 4), "int16"), axial), tmp_path / "a.img")
    (tmp_path / "a.img").unlink()
    with pytest.raises(MrisrError, match=r"a\.hdr is one half of a pair, and a\.img is missing"):
        read_volume(tmp_path / "a.hdr")


def test_another_kind_of_header(tmp_path):
    (tmp_path / "a.hdr").write_text("ENVI\nsamples = 10\n" * 40)
    (tmp_path / "a.img").write_bytes(bytes(100))
    with pytest.raises(MrisrError, match="is the header of no NIfTI pair and of no Analyze file"):
        read_volume(tmp_path / "a.img")


def test_a_header_that_promises_too_much(tmp_path, axial):
    nibabel.save(nibabel.Nifti1Pair(np.ones((40, 40, 40), "int16"), axial), tmp_path / "a.img")
    (tmp_path / "a.img").write_bytes(b"short")
    with pytest.raises(MrisrError, match="header says 40 x 40 x 40 voxels, and the file has 5 bytes"):
        read_volume(tmp_path / "a.img")
    (tmp_path / "a.img").write_bytes(gzip.compress(bytes(128000))[:60])
    with pytest.raises(MrisrError, match="broken or cut off"):
        read_volume(tmp_path / "a.img")
