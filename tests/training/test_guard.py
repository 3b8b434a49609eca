import logging
import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_mrisr.errors import MrisrError
from keras_mrisr.training.callbacks import KeepBest
from keras_mrisr.training.gan_checks import WEIGHTS
from keras_mrisr.training.guard import (
    TRACED,
    Guard,
    IllTrainingError,
    Rates,
    check_discriminator,
    check_finite,
    check_generator,
)
from keras_mrisr.training.state import RunState

WON = {"d_hr": 0.99, "d_sr": 0.01}
LOST = {"d_hr": 0.5, "d_sr": 0.99}
FAIR = {"d_hr": 0.7, "d_sr": 0.3}


def test_the_cause_is_named_rather_than_the_sum():
    check_finite({"pixel": 1.0, "loss": 2.0, "val_psnr": 30.0})
    nan, inf = math.nan, math.inf
    for logs, name in (
        ({"loss": nan, "g_gradient": nan, "perceptual": nan, "pixel": 1.0}, "'perceptual' became nan"),
        ({"loss": nan, "d_loss": inf, "r1": inf}, "'r1' became inf"),
        ({"loss": nan, "segmentation": nan}, "'segmentation' became nan"),
        ({"loss": nan, "adversarial": nan, "spectrum": nan}, "'spectrum' became nan"),
        ({"loss": nan, "adversarial_weight": nan}, "'adversarial_weight' became nan"),
        ({"d_gradient": inf, "d_loss": 1.0}, "'d_gradient' became inf"),
        ({"loss": 1.0, "val_psnr": nan}, "'val_psnr' became nan"),
    ):
        with pytest.raises(IllTrainingError, match=name):
            check_finite(logs)


def test_discriminator_won_or_lost():
    for certain, message in ((WON, "has won: for 3 epochs"), (LOST, "has lost: for 3 epochs")):
        check_discriminator([certain] * 2)
        check_discriminator([certain, FAIR, certain, certain])
        check_discriminator([certain] * 3 + [FAIR])
        with pytest.raises(IllTrainingError, match=message):
            check_discriminator([FAIR, certain, certain, certain])
    # What led to a rollback is over.
    check_discriminator([WON, WON, {**WON, "ill": 1.0}, WON, WON])
    with pytest.raises(IllTrainingError):
        check_discriminator([{**WON, "ill": 1.0}, *[{**WON, "ill": 0.0}] * 3])
    # Without an adversarial loss both are 0.5.
    check_discriminator([{"d_hr": 0.5, "d_sr": 0.5}] * 9)


def test_collapsed_generator():
    check_generator({"val_psnr": 27.5, "val_variety": 0.9}, 30.0)
    with pytest.raises(IllTrainingError, match=r"PSNR fell from 30\.00 to 26\.90 dB"):
        check_generator({"val_psnr": 26.9, "val_variety": 0.9}, 30.0)
    with pytest.raises(IllTrainingError, match="nearly the same image for different inputs"):
        check_generator({"val_psnr": 30.0, "val_variety": 0.05}, 30.0)


class NanAt(keras.losses.Loss):
    """A perceptual loss that is not finite in some of its calls, counted from 1."""

    def __init__(self, *calls):
        super().__init__(name="perceptual")
        self.calls, self.count = calls, 0

    def call(self, y_true, y_pred):
        self.count += 1
        value = ops.mean(ops.square(y_true - y_pred), axis=(1, 2, 3))
        return value * (math.nan if self.count in self.calls else 1.0)


class Scores(keras.callbacks.Callback):
    """Stands for the validation: gives each epoch the logs of a list."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def on_epoch_end(self, epoch, logs=None):
        logs.update({"val_psnr": 30.0, "val_score": 1.0, "val_variety": 1.0, **self.rows[epoch]})


class Watch(keras.callbacks.Callback):
    """Stands for `Record`, and keeps the weights after each step and epoch."""

    def __init__(self, state):
        super().__init__()
        self.state, self.steps, self.epochs = state, [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(self._weights())

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self._weights())
        self.state.history.append(dict(logs))

    def _weights(self):
        return np.concatenate([np.ravel(value) for value in self.model.get_weights()])


@pytest.fixture
def run(make_gan, batch, tmp_path):
    """A function (rows of scores, loss, rollbacks, steps) that fits a guarded model."""

    def fit(rows, perceptual=None, most=3, steps=1):
        model = make_gan(
            {"normalization": "none"},
            weights={"perceptual": 0.1, "adversarial": 0.1},
            perceptual=perceptual or NanAt(),
        )
        state = RunState(start={"val_psnr": 30.0})
        rates = Rates(state, (1e-3, 2e-3), len(rows))
        watch, saved = Watch(state), []
        keep_best = KeepBest(state, lambda logs: saved.append(state.best_epoch), monitor="val_score")
        guard = Guard(tmp_path / "backup", state, rates, most)
        chain = [Scores(rows), rates, guard, keep_best, watch]
        arrays = [part[:steps] for part in batch]
        model.fit(*arrays, batch_size=1, epochs=len(rows), shuffle=False, verbose=0, callbacks=chain)
        model.saved, model.watch, model.state = saved, watch, state
        return model

    return fit


def rates_of(model):
    return [float(optimizer.learning_rate) for optimizer in model.optimizer.optimizers]


def test_healthy(run):
    model = run([{}, {}])
    assert model.state.rollbacks == 0
    assert rates_of(model) == pytest.approx([2e-3, 1e-3])
    assert [row["ill"] for row in model.state.history] == [0, 0]


def test_nan_is_caught_at_its_step_and_named(run, caplog):
    caplog.set_level(logging.WARNING)
    model = run([{}, {}], NanAt(5), steps=3)
    (line,) = [record.getMessage() for record in caplog.records if "ill" in record.getMessage()]
    assert "'perceptual' became nan" in line and "(1 of 3)" in line
    steps, epochs = model.watch.steps, model.watch.epochs
    assert np.abs(steps[3] - epochs[0]).max() > 0
    # Right after that step all is as at the end of epoch 1: networks, average, optimizers.
    np.testing.assert_array_equal(steps[4], epochs[0])
    assert int(model.optimizer.iterations) == 4
    assert model.state.rollbacks == 1
    assert rates_of(model) == pytest.approx([1e-3, 5e-4])
    assert np.isfinite(epochs[-1]).all()
    assert np.isfinite(list(model.state.history[-1].values())).all()


def test_nan_in_the_last_step_of_an_epoch_counts_once(run):
    # Such a step often leaves more than its loss without a value.
    model = run([{}, {"d_hr": math.nan, "d_sr": math.nan}, {}], NanAt(2))
    assert model.state.rollbacks == 1
    assert int(model.optimizer.iterations) == 2
    assert [row["ill"] for row in model.state.history] == [0, 0, 0]


def test_nan_in_the_first_step_goes_back_to_the_start(run):
    model = run([{}], NanAt(1), steps=2)
    steps = model.watch.steps
    assert np.isfinite(steps[0]).all() and np.abs(steps[1] - steps[0]).max() > 0
    assert int(model.optimizer.iterations) == 1
    assert model.state.rollbacks == 1


@pytest.mark.parametrize(("first", "kept"), [(1, "No model was kept"), (5, "The best model so far is kept")])
def test_it_gives_up_with_an_explanation(run, first, kept):
    with pytest.raises(MrisrError) as caught:
        run([{}] * 4, NanAt(*range(first, 99)), most=2, steps=4)
    message = str(caught.value)
    assert "\n" not in message
    assert "'perceptual' became nan, after 2 attempts at lower rates" in message
    assert f"{kept}. Start from" in message and "lower the rates" in message


@pytest.mark.parametrize(
    ("sick", "finding"),
    [
        ({"val_psnr": 26.0}, "validation PSNR fell"),
        ({"val_variety": 0.01}, "generator has collapsed"),
        ({"val_psnr": math.nan, "val_score": math.nan}, "'val_psnr' became nan"),
    ],
)
def test_a_sick_epoch_is_undone_and_never_the_best(run, caplog, sick, finding):
    model = run([{"val_score": 1.0}, {"val_score": 9.0, **sick}, {"val_score": 2.0}])
    assert finding in caplog.text
    np.testing.assert_array_equal(model.watch.epochs[1], model.watch.epochs[0])
    assert model.saved == [1, 3]
    assert [row["ill"] for row in model.state.history] == [0, 1, 0]
    assert (model.state.best, model.state.rollbacks) == (2.0, 1)


def test_a_sick_first_epoch_is_not_the_best(run):
    model = run([{"val_psnr": 20.0}, {"val_score": -1.0}])
    assert model.saved == [2]


def test_a_discriminator_that_won_goes_back_to_before_it_did(run, caplog):
    model = run([{}, WON, WON, WON, {}])
    assert "the discriminator has won" in caplog.text
    np.testing.assert_array_equal(model.watch.epochs[3], model.watch.epochs[0])
    assert model.state.rollbacks == 1


def test_no_rollbacks_only_reports(run, caplog):
    model = run([{}, {"val_psnr": 20.0, "val_score": 9.0}, {}], NanAt(3), most=0)
    assert caplog.text.count("This recipe continues regardless") >= 2
    assert model.state.rollbacks == 0
    assert rates_of(model) == pytest.approx([2e-3, 1e-3])
    assert not np.isfinite(model.watch.epochs[-1]).all()
    assert model.saved == [1]


def test_rates_follow_the_schedule_and_the_rollbacks(make_gan):
    model, state = make_gan(), RunState()
    rates = Rates(state, (1e-3, 2e-3), 10, "cosine")
    rates.set_model(model)
    rates.on_epoch_begin(0)
    assert rates_of(model) == pytest.approx([2e-3, 1e-3])
    rates.on_epoch_begin(5)
    assert rates_of(model) == pytest.approx([2e-3 * 0.55, 1e-3 * 0.55])
    state.rollbacks = 2
    rates.apply(0)
    assert rates_of(model) == pytest.approx([5e-4, 2.5e-4])


def test_every_loss_is_traced():
    assert set(WEIGHTS) < set(TRACED)
