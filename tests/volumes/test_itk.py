import builtins

import numpy as np
import pytest

from keras_mrisr.errors import MissingDependencyError, MrisrError
from keras_mrisr.volumes import Volume, read_volume, write_volume


@pytest.fixture
def itk():
    return pytest.importorskip("SimpleITK")


def corners(image):
    """RAS millimetres of the outer corners of a SimpleITK image."""
    size = image.GetSize()
    ends = [(-0.5, n - 0.5) for n in size]
    places = [(x, y, z) for x in ends[0] for y in ends[1] for z in ends[2]]
    return np.array([image.TransformContinuousIndexToPhysicalPoint(place) for place in places]) * (-1, -1, 1)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_values_and_box_survive(tmp_path, phantom, oblique, itk, suffix, dtype):
    array = phantom((10, 8, 5), oblique, top=200).astype(dtype)
    write_volume(Volume(array, oblique), tmp_path / f"a{suffix}")
    image = itk.ReadImage(str(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(itk.GetArrayFromImage(image).transpose(2, 1, 0), array)
    first = oblique @ [-0.5, -0.5, -0.5, 1]
    np.testing.assert_allclose(corners(image)[0], first[:3], atol=1e-6)
    volume = read_volume(tmp_path / f"a{suffix}")
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, oblique, atol=1e-6)
    write_volume(volume.upscaled(array.repeat(2, 0), (2, 1, 1)), tmp_path / f"b{suffix}")
    np.testing.assert_allclose(
        corners(itk.ReadImage(str(tmp_path / f"b{suffix}"))), corners(image), atol=1e-6
    )


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd", ".mha"])
def test_what_simpleitk_wrote(tmp_path, itk, suffix):
    array = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype("int16")  # Slices, rows, columns.
    image = itk.GetImageFromArray(array)
    image.SetSpacing((0.5, 0.7, 3))
    image.SetOrigin((1, 2, 3))
    itk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    volume = read_volume(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(volume.array, array.transpose(2, 1, 0))
    expected = np.diag([-0.5, -0.7, 3, 1.0])
    expected[:3, 3] = (-1, -2, 3)
    np.testing.assert_allclose(volume.affine, expected)


def test_colours_flat_images_and_several_volumes(tmp_path, itk):
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3)).astype("uint8")
    itk.WriteImage(itk.GetImageFromArray(colours, isVector=True), str(tmp_path / "c.nrrd"))
    volume = read_volume(tmp_path / "c.nrrd")
    np.testing.assert_array_equal(volume.array, colours.transpose(2, 1, 0, 3))
    write_volume(volume, tmp_path / "again.mha")
    np.testing.assert_array_equal(read_volume(tmp_path / "again.mha").array, volume.array)
    flat = np.arange(30).reshape(5, 6).astype("int16")
    itk.WriteImage(itk.GetImageFromArray(flat), str(tmp_path / "f.mha"))
    np.testing.assert_array_equal(read_volume(tmp_path / "f.mha").array, flat.T[..., np.newaxis])
    series = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype("int16")
    itk.WriteImage(itk.GetImageFromArray(series, isVector=False), str(tmp_path / "s.nrrd"))
    with pytest.raises(MrisrError, match="holds 2 volumes"):
        read_volume(tmp_path / "s.nrrd")
    np.testing.assert_array_equal(read_volume(tmp_path / "s.nrrd", 1).array, series[1].transpose(2, 1, 0))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_broken_files_and_promises(tmp_path, itk, suffix):
    path = tmp_path / f"a{suffix}"
    itk.WriteImage(itk.GetImageFromArray(np.ones((4, 4, 4), "int16")), str(path))
    content = path.read_bytes()
    for broken in (b"", b"no header", content[: len(content) // 2]):
        path.write_bytes(broken)
        with pytest.raises(MrisrError, match="broken or cut off") as caught:
            read_volume(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(content.replace(b"4 4 4", b"4000 4000 4000"))
    with pytest.raises(MrisrError, match="header says 4000 x 4000 x 4000 voxels, and the file has"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nhdr", ".mhd"])
def test_damage_in_zipped_voxels(tmp_path, itk, capfd, suffix):
    """ITK reads other voxels then: of MetaImage always, of NRRD near the end."""
    array = np.random.default_rng(0).integers(0, 300, (5, 6, 7)).astype("int16")
    itk.WriteImage(itk.GetImageFromArray(array), str(tmp_path / f"a{suffix}"), useCompression=True)
    np.testing.assert_array_equal(read_volume(tmp_path / f"a{suffix}").array, array.transpose(2, 1, 0))
    path = next(
        (one for one in tmp_path.iterdir() if one.suffix in (".gz", ".zraw")), tmp_path / f"a{suffix}"
    )
    content = path.read_bytes()
    for place in (-12, -100, -200):
        changed = bytearray(content)
        changed[place] ^= 16
        path.write_bytes(changed)
        with pytest.raises(MrisrError, match="broken or cut off"):
            read_volume(tmp_path / f"a{suffix}")
    path.write_bytes(content[:-1])
    with pytest.raises(MrisrError, match="the end of its voxels is missing"):
        read_volume(tmp_path / f"a{suffix}")
    assert capfd.readouterr().err == ""


def test_what_metaio_says_is_the_reason(tmp_path, itk, capfd):
    path = tmp_path / "a.mha"
    itk.WriteImage(itk.GetImageFromArray(np.ones((4, 4, 4), "int16")), str(path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MrisrError, match="data not read completely ideal = 128 : actual = 127"):
        read_volume(path)
    assert capfd.readouterr().err == ""


def test_without_simpleitk(tmp_path, monkeypatch):
    real = builtins.__import__

    def fail(name, *arguments, **options):
        if name == "SimpleITK":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", fail)
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n")
    with pytest.raises(MissingDependencyError, match="NRRD and MetaImage need SimpleITK"):
        read_volume(tmp_path / "a.nrrd")
    with pytest.raises(MissingDependencyError, match="NRRD and MetaImage need SimpleITK"):
        write_volume(Volume(np.ones((2, 2, 2)), np.eye(4)), tmp_path / "b.mha")
