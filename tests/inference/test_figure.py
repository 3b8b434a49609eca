import numpy as np
import pytest
from PIL import Image

from keras_mrisr.data import write_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.inference import SuperResolver, upscale_path
from keras_mrisr.inference.figure import before_after_volume
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.volumes import Volume


@pytest.fixture
def drawn(monkeypatch):
    """The rows that were drawn, in place of a file."""
    rows = []
    monkeypatch.setattr(
        "keras_mrisr.inference.figure.draw_before_after", lambda pairs, *_: rows.extend(pairs)
    )
    return rows


def volume(shape, affine=None):
    """A volume in RAS whose values say where a voxel lies: 10000 R + 100 A + S."""
    places = np.indices(shape)
    array = (10000 * places[0] + 100 * places[1] + places[2]).astype("float32")
    return Volume(array, np.eye(4) if affine is None else affine)


def finer(one, factors):
    array = one.array
    for axis, factor in enumerate(factors):
        array = array.repeat(factor, axis=axis)
    return one.upscaled(array, factors)


def test_planes_lie_as_one_looks_at_a_patient(drawn):
    one = volume((10, 12, 14))
    before_after_volume(one, finer(one, (1, 1, 1)), "x.png")
    sagittal, coronal, axial = (pair.after for pair in drawn)
    assert (sagittal.shape, coronal.shape, axial.shape) == ((14, 12), (14, 10), (12, 10))
    # Head or nose up; the patient's right on the left, where the first index of R is the largest.
    assert axial[0, 0] > axial[0, -1] > axial[-1, -1]
    assert coronal[0, 0] > coronal[0, -1] > coronal[-1, -1]
    assert sagittal[0, -1] > sagittal[0, 0] > sagittal[-1, 0]
    assert [pair.title.split()[0] for pair in drawn] == ["sagittal", "coronal", "axial"]


def test_the_orientation_of_the_file_makes_no_difference(drawn):
    one = volume((10, 12, 14))
    turned = Volume(
        np.ascontiguousarray(one.array.transpose(2, 0, 1)[::-1]),
        np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, 13], [0, 0, 0, 1.0]]),
    )
    before_after_volume(one, finer(one, (2, 2, 1)), "x.png")
    before_after_volume(turned, finer(turned, (1, 2, 2)), "x.png")
    for first, second in zip(drawn[:3], drawn[3:], strict=True):
        np.testing.assert_array_equal(first.after, second.after)
        np.testing.assert_allclose(first.before, second.before, atol=1e-3)


def test_interpolation_lies_where_the_result_lies(drawn):
    """Of a ramp the cubic interpolation is the ramp on the finer grid, but for the border."""
    one = volume((12, 12, 12))
    y = np.arange(24) / 2 - 0.25
    fine = (10000 * y[:, None, None] + 100 * y[None, :, None] + np.arange(12)).astype("float32")
    before_after_volume(one, one.upscaled(fine, (2, 2, 1)), "x.png", "axial")
    [pair] = drawn
    np.testing.assert_allclose(pair.before[6:-6, 6:-6], pair.after[6:-6, 6:-6], rtol=0.01)
    assert pair.aspect == 1


def test_thick_slices_are_shown_in_their_plane(drawn):
    for axis in range(3):
        spacing = [1.0, 1.0, 1.0, 1.0]
        spacing[axis] = 5.0
        one = volume((12, 12, 12), np.diag(spacing))
        before_after_volume(one, finer(one, (1, 1, 1)), "x.png")
    assert [pair.title.split()[0] for pair in drawn] == ["sagittal", "coronal", "axial"]
    drawn.clear()
    before_after_volume(one, finer(one, (1, 1, 1)), "x.png", "coronal")
    assert drawn[0].title.startswith("coronal") and drawn[0].aspect == 5


def resolver(channels):
    class Nearest:
        def predict_on_batch(self, lr):
            return lr.repeat(2, axis=1).repeat(2, axis=2)

    return SuperResolver(Nearest(), ModelInfo(2, channels, generator={}, degradation={}))


@pytest.mark.parametrize("channels", [1, 3])
def test_of_an_image(tmp_path, smooth_image, channels):
    write_image(tmp_path / "in.png", smooth_image(20, 30, channels))
    written = upscale_path(
        tmp_path / "in.png",
        tmp_path / "out.png",
        resolver(channels),
        figure=tmp_path / "figure.png",
        report=tmp_path / "page.html",
    )
    assert written == [tmp_path / "out.png", tmp_path / "figure.png", tmp_path / "page.html"]
    with Image.open(tmp_path / "figure.png") as image:
        assert image.width > 3 * image.height
        coloured = np.array(image.convert("RGB")).astype(int)
    grey = np.abs(np.diff(coloured, axis=2)).max(axis=2) < 30
    # The frames and the titles have a colour; an image of three channels has it all over.
    assert (grey.mean() > 0.9) == (channels == 1)


@pytest.mark.parametrize("shape", [(1, 60), (1, 1), (60, 2)])
def test_of_a_narrow_image(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 1), "uint8")
    write_image(tmp_path / "in.png", image)
    upscale_path(tmp_path / "in.png", tmp_path / "out.png", resolver(1), figure=tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.width > 100


def test_what_cannot_be_drawn(tmp_path, smooth_image):
    write_image(tmp_path / "in/a.png", smooth_image(8, 8))
    (tmp_path / "old.png").write_bytes(b"x")
    model, source = resolver(1), tmp_path / "in/a.png"
    with pytest.raises(MrisrError, match=r"fig.gif is no picture that can be written. End it in \.png"):
        upscale_path(source, tmp_path / "b.png", model, figure=tmp_path / "fig.gif")
    with pytest.raises(MrisrError, match=r"old.png exists"):
        upscale_path(source, tmp_path / "b.png", model, figure=tmp_path / "old.png")
    for figure, message in (("b.png", "cannot hold"), ("in/a.png", "is the source itself")):
        with pytest.raises(MrisrError, match=message):
            upscale_path(source, tmp_path / "b.png", model, overwrite=True, figure=tmp_path / figure)
    with pytest.raises(MrisrError, match="in is a folder of images: give them one by one for `figure`"):
        upscale_path(tmp_path / "in", tmp_path / "b", model, figure=tmp_path / "fig.png")
    with pytest.raises(MrisrError, match="give them one by one for `report`"):
        upscale_path(tmp_path / "in", tmp_path / "b", model, report=tmp_path / "page.html")
    with pytest.raises(MrisrError, match="Unknown plane 'oblique'"):
        before_after_volume(volume((4, 4, 4)), volume((4, 4, 4)), "x.png", "oblique")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "old.png"]
