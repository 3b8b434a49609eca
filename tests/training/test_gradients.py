import keras
import numpy as np
import pytest
from keras import ops

from keras_mrisr.errors import MrisrError
from keras_mrisr.training import gradients as module
from keras_mrisr.training.gradients import gradients, input_gradient, without_gradients


@pytest.fixture
def variables():
    return [keras.Variable(value, name=f"v{value:g}") for value in (2.0, 3.0, 5.0)]


def numbers(found):
    return [[float(ops.convert_to_numpy(g)) for g in group] for group in found]


def test_each_loss_for_its_own_variables(variables):
    a, b, c = variables

    def losses():
        return (a.value * b.value, ops.square(b.value) * ops.square(a.value)), "rest"

    found, rest = gradients(losses, [a, c], [b])
    # d(ab)/da = b; c takes no part; d(a2 b2)/db = 2 a2 b.
    assert numbers(found) == [[3.0, 0.0], [24.0]]
    assert rest == "rest"


def test_same_as_a_tape():
    tf = pytest.importorskip("tensorflow")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, "tanh", name="dense")(inputs))
    x = ops.convert_to_tensor(np.random.default_rng(0).random((5, 4), "float32"))
    (found,), _ = gradients(lambda: ((ops.mean(ops.square(model(x))),), None), model.trainable_variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x) ** 2)
    for mine, other in zip(
        found, tape.gradient(loss, [v.value for v in model.trainable_variables]), strict=True
    ):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_zeros_have_the_shape_of_the_variable():
    variable = keras.Variable(np.ones((2, 3), "float32"))
    (found,), _ = gradients(lambda: ((ops.convert_to_tensor(1.0),), None), [variable])
    np.testing.assert_array_equal(ops.convert_to_numpy(found[0]), np.zeros((2, 3)))


def test_input_gradient_is_differentiable(variables):
    a = variables[0]
    x = ops.convert_to_tensor(np.array([[1.0], [2.0]], "float32"))
    np.testing.assert_allclose(
        ops.convert_to_numpy(input_gradient(lambda x: a.value * x**3, x)), [[6.0], [24.0]]
    )

    def penalty():  # (3 a x2)2, summed: 9 a2 (1 + 16), whose derivative is 18 a 17.
        return (ops.sum(ops.square(input_gradient(lambda x: a.value * x**3, x))),), None

    found, _ = gradients(penalty, [a])
    assert numbers(found) == [[18 * 2.0 * 17]]


def test_assignments_without_gradients(variables):
    with without_gradients():
        variables[0].assign(7.0)
    assert float(ops.convert_to_numpy(variables[0])) == 7.0


def test_other_backends_are_refused(monkeypatch):
    monkeypatch.setattr(module.keras.backend, "backend", lambda: "jax")
    with pytest.raises(
        MrisrError, match=r"on the backends tensorflow and torch\. Received: KERAS_BACKEND=jax"
    ):
        gradients(lambda: None)
