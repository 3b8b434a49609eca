import keras
import numpy as np
import pytest
from keras import layers

from keras_mrisr.errors import MrisrError
from keras_mrisr.models import build_generator
from keras_mrisr.training.muon import ConvMuon, make_optimizer


def newton_schulz(matrix):
    """Jordan et al. 2024, in NumPy."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / np.linalg.norm(x)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


@pytest.fixture
def kernel():
    conv = layers.Conv2D(4, 3, name="block1_conv1")
    conv.build((None, None, None, 6))
    return conv.kernel


def test_two_steps_of_a_kernel(kernel):
    rng = np.random.default_rng(0)
    start = keras.ops.convert_to_numpy(kernel)
    optimizer = ConvMuon(0.01)
    momentum, expected = 0, start.reshape(-1, 4)
    for _ in range(2):
        gradient = rng.normal(size=start.shape).astype("float32")
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [kernel])
        momentum = 0.95 * momentum + gradient.reshape(-1, 4)
        direction = newton_schulz(gradient.reshape(-1, 4) + 0.95 * momentum)
        expected = expected - 0.01 * 0.2 * np.sqrt(54) * direction
    result = keras.ops.convert_to_numpy(kernel)
    np.testing.assert_allclose(result.reshape(-1, 4), expected, rtol=1e-4, atol=1e-6)
    singular = np.linalg.svd((result - start).reshape(-1, 4), compute_uv=False)
    assert singular.max() < 2 * singular.min()  # All directions learn at about the same pace.


def test_what_is_left_to_adam():
    model = build_generator("srresnet", scale=2, channels=1, blocks=1, filters=4)
    optimizer = ConvMuon(0.01)
    optimizer.build(model.trainable_variables)
    adam = {
        variable.path
        for variable, velocity in zip(model.trainable_variables, optimizer.adam_velocities, strict=True)
        if velocity is not None
    }
    kernels = {variable.path for variable in model.trainable_variables if len(variable.shape) == 4}
    assert adam & kernels == {"input_conv/kernel", "output_conv/kernel"}
    assert adam | kernels == {variable.path for variable in model.trainable_variables}


def test_its_adam_is_keras_s():
    rng = np.random.default_rng(0)
    start = rng.normal(size=5).astype("float32")
    slope, same = (keras.Variable(start) for _ in range(2))
    ours, theirs = ConvMuon(0.02), keras.optimizers.Adam(0.01)
    for _ in range(3):
        gradient = keras.ops.convert_to_tensor(rng.normal(size=5).astype("float32"))
        ours.apply([gradient], [slope])
        theirs.apply([gradient], [same])
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (slope, same)), rtol=1e-4)


def test_a_saved_model_goes_on_as_if_nothing_had_happened(tmp_path):
    model = build_generator("edsr", scale=2, channels=1, blocks=1, filters=4)
    model.compile(make_optimizer("muon", 1e-3, 0.5, "muon"), "mae")
    rng = np.random.default_rng(0)
    lr, hr = rng.random((2, 8, 8, 1), "float32"), rng.random((2, 16, 16, 1), "float32")
    losses = [model.train_on_batch(lr, hr)]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    losses += [model.train_on_batch(lr, hr) for _ in range(3)]
    np.testing.assert_allclose([again.train_on_batch(lr, hr) for _ in range(3)], losses[1:], rtol=1e-5)
    assert losses == sorted(losses, reverse=True)


def test_unknown():
    with pytest.raises(MrisrError, match=r"Unknown optimizer 'sgd'\. Known: adam, muon"):
        make_optimizer("sgd", 1e-3, optimizer="sgd")
