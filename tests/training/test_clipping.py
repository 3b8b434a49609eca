import keras
import numpy as np
from keras import ops

from keras_mrisr.models import build_generator
from keras_mrisr.training.clipping import Adam
from keras_mrisr.training.muon import make_optimizer

# What two replicas do is in test_strategy.py and test_adversarial.py.


def test_on_one_device_it_clips_as_keras_does():
    gradient = ops.convert_to_tensor(np.arange(6, dtype="float32"))
    results = []
    for kind in (Adam, keras.optimizers.Adam):
        optimizer, variable = kind(0.1, global_clipnorm=0.5), keras.Variable(np.zeros(6, "float32"))
        optimizer.apply([gradient], [variable])
        results.append([ops.convert_to_numpy(value) for value in (variable, *optimizer.variables)])
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_saved_model_keeps_its_limit(tmp_path):
    model = build_generator("edsr", 2, 1, blocks=1, filters=4)
    model.compile(make_optimizer("adam", 1e-3, 0.5), "mae")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert type(loaded) is Adam
    assert loaded.global_clipnorm == 0.5


def test_backups_of_keras_s_adam_still_fit(make_gan, batch, tmp_path):
    """The path of a variable of a `MultiOptimizer` holds the name of the class of its optimizer."""
    adams = [keras.optimizers.Adam(1e-3) for _ in range(2)]
    optimizer = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(adams[0], {"d_.*": adams[1]}))
    old, new = make_gan(optimizer=optimizer), make_gan()
    old.train_on_batch(*batch)
    old.save_weights(tmp_path / "model.weights.h5")
    new.optimizer.build(new.trainable_variables)
    new.load_weights(tmp_path / "model.weights.h5")
    for one, two in zip(old.optimizer.variables, new.optimizer.variables, strict=True):
        if "learning_rate" not in one.path:
            np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(two))
