import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError
from keras_mrisr.inference.consistency import (
    NOISE_8BIT,
    consistency_residual,
    enforce_consistency,
    relative_residual,
)

DEGRADATIONS = [
    ("kspace", {}),
    ("kspace", {"window": "hamming"}),
    ("kspace", {"window": "tukey"}),
    ("bicubic", {}),
    ("paper", {}),
]
SIZES = [(64, 96), (66, 50), (94, 66)]  # LR of 32x48, 33x25, 47x33.


def psnr(one, two):
    return -10 * np.log10(np.mean(np.square(np.asarray(one, "float64") - two)))


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


def hallucination(hr, kind, seed=0):
    """What a network may add to the truth: `fine` texture, `coarse` stains, or too little contrast."""
    rng = np.random.default_rng(seed)
    if kind == "contrast":
        return 0.95 * hr + 0.01
    noise = rng.normal(size=hr.shape)
    if kind == "coarse":
        noise = gaussian_filter(noise, (3, 3, 0), mode="wrap")
    return hr + 0.03 * noise / noise.std()


@pytest.mark.parametrize("kind", ["fine", "coarse", "contrast"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_kspace_is_exact_at_no_lower_psnr(dtype, size, kind, smooth_image):
    degradation = get_degradation("kspace", 2)
    hr = smooth_image(*size, 3, dtype)
    top = 255 if dtype == "uint8" else 1
    lr, hr = degradation.degrade(hr) / top, hr / top
    sr = hallucination(hr, kind)
    fixed, before, after = enforce_consistency(sr, lr, degradation)
    assert fixed.dtype == "float32" and fixed.shape == sr.shape
    # The reported numbers are those of the operator that trains, in other arithmetic.
    for image, reported in ((sr, before), (fixed, after)):
        measured = rms(np.asarray(degradation(image[np.newaxis].astype("float32")))[0] - lr)
        assert reported == pytest.approx(measured, abs=1e-6)
    assert relative_residual(before, lr) > 0.01
    assert relative_residual(after, lr) < 1e-5
    assert psnr(fixed, hr) > psnr(sr, hr)


@pytest.mark.parametrize("kind", ["fine", "coarse", "contrast"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "arguments"), DEGRADATIONS[1:])
def test_8_bit_slices_are_met_at_no_lower_psnr(name, arguments, size, kind, smooth_image):
    # The division by a blur or a window would amplify the rounding of LR by up to a thousand.
    degradation = get_degradation(name, 2, **arguments)
    hr = smooth_image(*size, 1)
    lr, hr = degradation.degrade(hr) / 255, hr / 255
    sr = hallucination(hr, kind)
    fixed, before, after = enforce_consistency(sr, lr, degradation)
    assert before > 0.5 / 255 >= after
    assert psnr(fixed, hr) >= psnr(sr, hr)


@pytest.mark.parametrize(("name", "arguments"), DEGRADATIONS)
def test_the_truth_is_hardly_changed(name, arguments, smooth_image):
    degradation = get_degradation(name, 2, **arguments)
    hr = smooth_image(64, 50, 3)
    lr, hr = degradation.degrade(hr) / 255, hr / 255
    fixed, before, _ = enforce_consistency(hr, lr, degradation)
    assert before < 0.5 / 255
    assert rms(fixed - hr) < 0.35 / 255


@pytest.mark.parametrize("size", [(18, 18), (18, 22), (20, 16)])
def test_replaces_the_centre_of_kspace(size):
    # Odd LR sizes: no frequency is shared between two, so that the centre can be replaced by hand.
    rng = np.random.default_rng(0)
    sr = rng.normal(size=(*size, 1))
    lr = rng.normal(size=(size[0] // 2, size[1] // 2, 1))
    fixed, _, after = enforce_consistency(sr, lr, get_degradation("kspace", 2, magnitude=False))
    assert relative_residual(after, lr) < 1e-6
    spectrum, measured = np.fft.fft2(sr[..., 0]), np.fft.fft2(lr[..., 0])
    places = [np.arange(-((n - 1) // 2), (n - 1) // 2 + 1) for n in lr.shape[:2]]
    ramps = [np.exp(-2j * np.pi * k / (2 * n)) for k, n in zip(places, size, strict=True)]
    centre = np.ix_(*places)
    spectrum[centre] = 4 * measured[centre] * np.outer(*ramps)
    changed = np.fft.fft2(fixed[..., 0]) - spectrum
    if size[0] % 4 and size[1] % 4:
        np.testing.assert_allclose(changed, 0, atol=1e-4)
    else:  # Even LR sizes: but for the rows at +-n / 2.
        np.testing.assert_allclose(changed[centre], 0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("kspace", {"magnitude": False}),
        ("kspace", {"magnitude": False, "window": "hamming"}),
        ("bicubic", {}),
        ("paper", {"sigma": 0.8, "kernel": "gaussian"}),
    ],
)
def test_without_noise_it_is_the_orthogonal_projection(name, arguments):
    degradation = get_degradation(name, 2, **arguments)
    rng = np.random.default_rng(1)
    sr, lr = rng.random((10, 8, 2)), rng.random((5, 4, 2))
    matrix = np.kron(degradation.axis_matrix(10), degradation.axis_matrix(8))
    for channel in range(2):
        x = sr[..., channel].ravel()
        x = x + np.linalg.pinv(matrix) @ (lr[..., channel].ravel() - matrix @ x)
        fixed, _, after = enforce_consistency(sr, lr, degradation, noise=0)
        np.testing.assert_allclose(fixed[..., channel].ravel(), x, atol=1e-4)
    assert relative_residual(after, lr) < 1e-6


def test_stops_at_the_noise_with_the_least_change(smooth_image):
    # Against a general solver: of all images that are as near to LR, the one nearest to SR.
    degradation = get_degradation("bicubic", 2)
    rng = np.random.default_rng(2)
    sr, lr = rng.random((12, 8, 1)), rng.random((6, 4, 1))
    matrix = np.kron(degradation.axis_matrix(12), degradation.axis_matrix(8))
    fixed, before, after = enforce_consistency(sr, lr, degradation, noise=0.1)
    assert before > 0.1
    assert after == pytest.approx(0.1, rel=1e-3)
    change = (fixed - sr).ravel()
    residual = lr.ravel() - matrix @ fixed.ravel()
    # Lagrange: the change is a positive multiple of A^T residual.
    gradient = matrix.T @ residual
    assert change @ gradient / np.linalg.norm(change) / np.linalg.norm(gradient) > 1 - 1e-6


@pytest.mark.parametrize("noise", [NOISE_8BIT, 0.02])
def test_what_is_near_enough_stays_as_it_is(noise, smooth_image):
    degradation = get_degradation("paper", 2)
    hr = smooth_image(40, 48, 1, "float32")
    lr = degradation.degrade(hr) + np.float32(0.9 * noise)
    fixed, before, after = enforce_consistency(hr, lr, degradation, noise=noise)
    np.testing.assert_array_equal(fixed, hr)
    assert before == after == pytest.approx(0.9 * noise, rel=0.01)


def test_noisy_scans_do_not_explode(smooth_image):
    # Noise far over the tolerance: without a bound its finest part would come back a thousandfold.
    degradation = get_degradation("paper", 2)
    hr = smooth_image(64, 64, 1, "float32")
    lr = degradation.degrade(hr) + np.random.default_rng(3).normal(size=(32, 32, 1)) * 0.02
    fixed, before, after = enforce_consistency(hr, lr, degradation)
    assert after < before
    assert rms(fixed - hr) < 5 * 0.02


def test_folded_signs():
    # Magnitudes hide where the crop was negative: of LR and -LR the one nearer to SR is the target.
    degradation = get_degradation("kspace", 2)
    hr = np.zeros((32, 32, 1))
    hr[12:20, 10:24] = 1.0
    crop = degradation.axis_matrix(32)
    lr = degradation.degrade(hr.astype("float32"))
    assert (crop @ hr[..., 0] @ crop.T).min() < -0.03
    fixed, *_ = enforce_consistency(hr, lr, degradation)
    np.testing.assert_allclose(fixed, hr, atol=1e-6)


def test_black_slices():
    degradation = get_degradation("kspace", 2)
    fixed, before, after = enforce_consistency(np.full((8, 8, 1), 0.1), np.zeros((4, 4, 1)), degradation)
    np.testing.assert_allclose(fixed, 0, atol=1e-7)
    assert before == pytest.approx(0.1) and after < 1e-7
    assert relative_residual(0.0, np.zeros((4, 4, 1))) == 0


def test_residual_of_the_file():
    degradation = get_degradation("bicubic", 2)
    sr, lr = np.full((8, 8, 1), 0.5, "float32"), np.full((4, 4, 1), 0.25)
    assert consistency_residual(sr, lr, degradation) == pytest.approx(0.25)
    assert relative_residual(0.25, lr) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(7, 8, 1), (8, 8, 3), (4, 4, 1), (8, 8), (1, 8, 8, 1)])
def test_bad_shapes(shape):
    with pytest.raises(MrisrError, match="SR must be 2 times as high and wide as LR") as error:
        enforce_consistency(np.zeros(shape), np.zeros((4, 4, 1)), get_degradation("kspace", 2))
    assert "\n" not in str(error.value)
