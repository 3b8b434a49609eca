import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from keras_mrisr.degrade import Degradation, get_degradation
from keras_mrisr.errors import MrisrError


def acquired(image, scale=2, **options):
    return get_degradation("acquisition", scale, **options).degrade(image)


@pytest.fixture
def image():
    """A slice without negative LR values, so that its magnitude is the signal itself."""
    rng = np.random.default_rng(0)
    return (gaussian_filter(rng.random((48, 40, 2)), (2, 2, 0), mode="wrap") + 1).astype("float32")


@pytest.mark.parametrize("name", ["acquisition", "random-acquisition"])
@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_contract(smooth_image, name, scale, dtype):
    degradation = get_degradation(name, scale)
    assert isinstance(degradation, Degradation)
    image = smooth_image(12 * scale, 10 * scale, 3, dtype)
    lr = degradation.degrade(image)
    assert lr.shape == (12, 10, 3) and lr.dtype == image.dtype
    again = get_degradation(**degradation.to_dict())
    np.testing.assert_array_equal(again.degrade(image), lr)
    assert again.to_dict() == degradation.to_dict()
    if dtype == "float32":
        np.testing.assert_allclose(np.asarray(degradation(image[np.newaxis]))[0], lr, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"window": "hamming"}, {"window": "fermi", "alpha": 0.1}])
def test_of_whole_k_space_equals_the_crop(image, options):
    expected = get_degradation("kspace", 2, **options).degrade(image)
    np.testing.assert_allclose(acquired(image, **options), expected, atol=1e-5)


@pytest.mark.parametrize("filled", [1.0, 1.5])
@pytest.mark.parametrize("ellipse", [False, True])
@pytest.mark.parametrize("window", ["none", "hann"])
def test_what_is_not_measured_is_empty_and_the_rest_is_that_of_the_crop(image, filled, ellipse, window):
    lr = acquired(image, filled=filled, ellipse=ellipse, window=window)
    k = np.fft.fft2(lr[..., 0].astype("float64"))
    whole = np.fft.fft2(get_degradation("kspace", 2).degrade(image)[..., 0].astype("float64"))
    for i, j in np.ndindex(k.shape):
        # Signed line numbers, over the number of the last line measured.
        u, v = ((n - size if 2 * n >= size else n) * 2 * filled / size
                for n, size in zip((i, j), k.shape, strict=True))  # fmt: skip
        out = u * u + v * v > 1 + 1e-9 if ellipse else max(abs(u), abs(v)) > 1 + 1e-9
        weight = 0.0 if out else 1.0
        if window == "hann" and not out:
            weight = (0.5 + 0.5 * np.cos(np.pi * u)) * (0.5 + 0.5 * np.cos(np.pi * v))
        assert abs(k[i, j] - weight * whole[i, j]) < 1e-3, (i, j)


def test_zeros_along_one_axis_and_the_decay_of_the_signal(image):
    lr = acquired(image, filled=[1.0, 1.5], window="hann", sigma=[1.3, 0.0])
    decayed = gaussian_filter(image.astype("float64"), (1.3, 0, 0), mode="nearest").astype("float32")
    np.testing.assert_allclose(lr, acquired(decayed, filled=[1.0, 1.5], window="hann"), atol=1e-5)
    k = np.fft.fft2(lr[..., 0].astype("float64"))
    whole = np.fft.fft2(get_degradation("kspace", 2).degrade(decayed)[..., 0].astype("float64"))
    y, x = np.abs(np.fft.fftfreq(24)), np.abs(np.fft.fftfreq(20))
    weights = np.outer(0.5 + 0.5 * np.cos(2 * np.pi * y), (0.5 + 0.5 * np.cos(3 * np.pi * x)) * (x <= 1 / 3))
    np.testing.assert_allclose(k, weights * whole, atol=1e-3)
    config = get_degradation("acquisition", 2, filled=[1.0, 1.5], sigma=[1.3, 0.0]).get_config()
    assert (config["filled"], config["sigma"]) == ([1.0, 1.5], [1.3, 0.0])


def test_partial_fourier_of_one_wave():
    # A cosine of 9 periods has two lines, +9 and -9 of -12 to 11; of 75 % the lines from -6 on are measured.
    rows = np.arange(48) + 0.5
    wave = np.cos(2 * np.pi * 9 * rows / 48)[:, np.newaxis, np.newaxis]
    image = np.broadcast_to(2 + wave, (48, 40, 1)).astype("float32")
    lr = acquired(image, partial=0.75)
    centres = 2 * np.arange(24) + 1.0
    expected = np.abs(2 + 0.5 * np.exp(2j * np.pi * 9 * centres / 48))
    np.testing.assert_allclose(lr[:, 3, 0], expected, atol=1e-5)
    np.testing.assert_allclose(
        acquired(image, partial=1.0)[:, 3, 0], 2 + np.cos(np.pi * 9 * centres / 24), atol=1e-5
    )


@pytest.mark.parametrize("resampled", ["bicubic", "lanczos", "bilinear", "box"])
@pytest.mark.parametrize("sigma", [0.0, 1.2])
def test_resampling_is_pillows(image, resampled, sigma):
    lr = acquired(image, resampled=resampled, sigma=sigma)
    blurred = (
        gaussian_filter(image[..., 1].astype("float64"), sigma, mode="nearest") if sigma else image[..., 1]
    )
    expected = Image.fromarray(blurred.astype("float32")).resize(
        (20, 24), Image.Resampling[resampled.upper()]
    )
    np.testing.assert_allclose(lr[..., 1], np.asarray(expected), atol=1e-6)


def test_noise_has_the_ratio_and_its_seed():
    image = np.full((200, 200, 1), 0.5, "float32")
    noisy = acquired(image, snr=20, seed=1)
    assert np.std(noisy) == pytest.approx(0.5 / 20, rel=0.03)
    np.testing.assert_array_equal(noisy, acquired(image, snr=20, seed=1))
    assert (noisy != acquired(image, snr=20, seed=2)).any()
    assert get_degradation("acquisition", 2).fixed and not get_degradation("acquisition", 2, snr=20).fixed


@pytest.mark.parametrize(
    ("options", "weight"),
    [
        ({}, lambda f: np.ones_like(f)),
        ({"window": "hann"}, lambda f: 0.5 + 0.5 * np.cos(2 * np.pi * f)),
        ({"filled": 1.5}, lambda f: f <= 1 / 3 + 1e-9),
        (
            {"filled": 1.5, "window": "hann"},
            lambda f: (f <= 1 / 3 + 1e-9) * (0.5 + 0.5 * np.cos(3 * np.pi * f)),
        ),
    ],
)
def test_colored_noise_has_the_spectrum_of_what_is_measured(options, weight):
    flat = np.full((240, 240, 40), 0.5, "float32")
    lr = acquired(flat, snr=50, colored_noise=True, **options).astype("float64")
    power = (np.abs(np.fft.fft2(lr - lr.mean((0, 1)), axes=(0, 1))) ** 2).mean(-1) / 120**2
    f = np.abs(np.fft.fftfreq(120))
    weights = (weight(f)[:, np.newaxis] * weight(f)) ** 2
    expected = 0.01**2 * weights / weights.mean()
    for low in np.arange(0.02, 0.5, 0.08):  # In bands of frequencies along the rows, all columns.
        band = (f >= low) & (f < low + 0.08)
        # A magnitude of strong signal holds the noise of its real part, and little more.
        assert power[band].mean() == pytest.approx(expected[band].mean(), rel=0.05, abs=2e-7)


def test_colored_noise_of_software_is_blurred_and_resized_with_the_image(image):
    lr = acquired(image, snr=20, seed=3, colored_noise=True, resampled="lanczos", sigma=1.2)
    clean = acquired(image, resampled="lanczos", sigma=1.2)
    parts = []
    for white in np.random.default_rng(3).standard_normal((2, 48, 40, 2)):
        blurred = gaussian_filter(white[..., 1], 1.2, mode="nearest").astype("float32")
        parts.append(np.asarray(Image.fromarray(blurred).resize((20, 24), Image.Resampling.LANCZOS)))
    signal = clean[..., 1].mean()  # All of it is tissue.
    strength = signal / 20 / np.sqrt((parts[0] ** 2 + parts[1] ** 2).mean() / 2)
    expected = np.hypot(clean[..., 1] + strength * parts[0], strength * parts[1])
    np.testing.assert_allclose(lr[..., 1], expected, atol=1e-5)


def test_colored_noise_has_its_seed_and_needs_a_ratio(image):
    noisy = acquired(image, snr=20, seed=1, colored_noise=True, window="hamming")
    np.testing.assert_array_equal(
        noisy, acquired(image, snr=20, seed=1, colored_noise=True, window="hamming")
    )
    assert (noisy != acquired(image, snr=20, seed=2, colored_noise=True, window="hamming")).any()
    np.testing.assert_array_equal(acquired(image, colored_noise=True), acquired(image))


def test_draws_are_the_slices_own_and_reach_everything():
    random = get_degradation("random-acquisition", 2, lowest_snr=20)
    rng = np.random.default_rng(0)
    images = rng.random((400, 16, 16, 1), dtype="float32")
    drawn = [random.of_slice(image) for image in images]
    for image, one in zip(images[:20], drawn, strict=False):
        assert random.of_slice(image.copy()).to_dict() == one.to_dict()
        np.testing.assert_array_equal(random.degrade(image), one.degrade(image))
        assert np.isfinite(random.degrade(image)).all()
    assert {one.window for one in drawn} == {"none", "hamming", "hann", "tukey", "kaiser", "fermi"}
    assert {one.resampled for one in drawn} == {None, "bicubic", "lanczos", "bilinear", "box"}
    assert np.mean([one.resampled is None for one in drawn]) == pytest.approx(0.6, abs=0.08)
    assert np.mean([one.snr is not None for one in drawn]) == pytest.approx(0.2, abs=0.08)
    of_scanners = [one for one in drawn if one.resampled is None]
    assert np.mean([one.window == "none" for one in of_scanners]) == pytest.approx(0.5, abs=0.08)
    assert {one.colored_noise for one in drawn if one.snr is not None} == {False, True}
    assert not any(one.colored_noise for one in drawn if one.snr is None)
    assert all(20 <= one.snr <= 200 for one in drawn if one.snr is not None)
    assert 0 < max(max(one.sigma) for one in drawn) <= 2
    assert {(bool(y), bool(x)) for y, x in (one.sigma for one in of_scanners)} == {
        (False, False), (True, False), (False, True)
    }  # fmt: skip
    assert {len(set(one.filled)) for one in of_scanners if max(one.filled) > 1} == {1, 2}
    assert any(one.ellipse for one in drawn) and any(one.partial < 1 for one in drawn)
    assert max(max(one.filled) for one in drawn) > 1.5


@pytest.mark.parametrize(
    "options",
    [
        {"partial": 0.5},
        {"partial": 1.1},
        {"filled": 0.9},
        {"filled": 2.5},
        {"filled": "x"},
        {"resampled": "cubic"},
        {"filled": [1, 2, 1]},
        {"sigma": "x"},
        {"resampled": "box", "sigma": -1},
        {"resampled": "box", "sigma": [1, -1]},
        {"snr": 0},
        {"ellipse": 1},
        {"colored_noise": 1},
        {"window": "x"},
        {"resampled": "box", "window": "hamming"},
        {"resampled": "box", "ellipse": True},
        {"resampled": "box", "partial": 0.8},
        {"resampled": "box", "filled": [1, 1.5]},
    ],
)
def test_bad_arguments(options):
    with pytest.raises(MrisrError, match=next(reversed(options))):
        get_degradation("acquisition", 2, **options)


@pytest.mark.parametrize("noisy", [0, 1])
def test_all_or_none_of_them_get_noise(noisy):
    random = get_degradation("random-acquisition", 2, noisy=noisy)
    images = np.random.default_rng(0).random((20, 16, 16, 1), dtype="float32")
    assert {random.of_slice(image).snr is not None for image in images} == {bool(noisy)}


@pytest.mark.parametrize("colored", [0, 1])
def test_all_or_none_of_their_noise_is_colored(colored):
    random = get_degradation("random-acquisition", 2, noisy=1, colored=colored)
    images = np.random.default_rng(0).random((20, 16, 16, 1), dtype="float32")
    assert {random.of_slice(image).colored_noise for image in images} == {bool(colored)}


@pytest.mark.parametrize(
    "options",
    [
        {"lowest_snr": 0},
        {"lowest_snr": 1000},
        {"noisy": 1.1},
        {"noisy": True},
        {"colored": 2},
        {"largest_sigma": -1},
    ],
)
def test_bad_ranges(options):
    with pytest.raises(MrisrError, match=next(iter(options)).split("_")[-1]):
        get_degradation("random-acquisition", 2, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"sigma": 0.8}, {"sigma": 1.1, "filled": 1.2, "window": "hann"},
        {"window": "hamming"}, {"filled": 1.5}, {"filled": 1.3, "window": "fermi", "alpha": 0.4},
        {"resampled": "bicubic"}, {"resampled": "lanczos", "sigma": 1.2}, {"resampled": "box"},
    ],
)  # fmt: skip
def test_is_one_matrix_along_each_axis(image, options):
    degradation = get_degradation("acquisition", 2, **options)
    assert degradation.linear and degradation.magnitude == ("resampled" not in options)
    rows, columns = (degradation.axis_matrix(size) for size in image.shape[:2])
    expected = np.einsum("ih,hwc,jw->ijc", rows, image.astype("float64"), columns)
    np.testing.assert_allclose(degradation.degrade(image), expected, atol=2e-6)


@pytest.mark.parametrize(
    "options",
    [{"snr": 20.0}, {"ellipse": True}, {"partial": 0.75}, {"filled": [1.0, 1.5]}, {"sigma": [1.0, 0.0]}],
)
def test_noise_and_what_couples_the_axes_have_no_matrix(options):
    degradation = get_degradation("acquisition", 2, **options)
    assert not degradation.linear
    with pytest.raises(MrisrError, match="no matrix"):
        degradation.axis_matrix(32)
