import math
from types import SimpleNamespace

import pytest

from keras_mrisr.config import TrainingConfig
from keras_mrisr.training.callbacks import Backup, KeepBest, SaveLast
from keras_mrisr.training.record import Record
from keras_mrisr.training.state import RunState, read_state


def run_epochs(callback, scores, first=0):
    """Tells a callback of epochs with these scores until it stops; returns how many there were."""
    model = SimpleNamespace(stop_training=False)
    callback.set_model(model)
    for epoch, score in enumerate(scores, start=first):
        callback.on_epoch_end(epoch, {"val_psnr": score})
        if model.stop_training:
            return epoch + 1
    return first + len(scores)


def test_keep_best_saves_what_improves():
    state, saved = RunState(), []
    run_epochs(KeepBest(state, lambda logs: saved.append(logs["val_psnr"])), [30, 29, 31, 31, 32])
    assert saved == [30, 31, 32]
    assert (state.best, state.best_epoch) == (32, 5)


def test_keep_best_without_a_score_yet():
    state, saved = RunState(), []
    run_epochs(KeepBest(state, lambda logs: saved.append(logs["val_psnr"])), [math.nan, 30, math.nan, 29])
    assert saved[1:] == [30]
    assert (state.best, state.best_epoch) == (30, 2)


def test_patience():
    assert run_epochs(KeepBest(RunState(), print, patience=2), [30, 29, 31, 30, 30, 40]) == 5
    assert run_epochs(KeepBest(RunState(), print), [30] * 9) == 9
    # What was waited before a restart counts.
    state = RunState(best=30, best_epoch=1)
    keep_best = KeepBest(state, print, patience=3)
    assert run_epochs(keep_best, [29, 29], first=2) == 4


@pytest.mark.parametrize(
    ("epoch", "patience", "left"),
    [(3, 3, True), (4, 3, False), (9, 0, True), (10, 0, False), (10, 30, False)],
)
def test_epochs_that_are_left(epoch, patience, left):
    training = TrainingConfig(epochs=10, early_stopping=patience)
    assert RunState(best=30, best_epoch=1, epoch=epoch).epochs_are_left(training) is left


def test_save_last():
    saved = []
    SaveLast(lambda: saved.append(1)).on_epoch_end(0)
    assert saved == [1]


class FakeModel:
    optimizer = SimpleNamespace(learning_rate=0.5)

    def save_weights(self, path):
        path.write_text("weights")


def test_record_replaces_an_epoch_that_is_repeated(tmp_path):
    state = RunState(history=[{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}])
    record = Record(tmp_path, state)
    record.set_model(FakeModel())
    record.on_epoch_end(1, {"loss": 1.0, "val_psnr": 30})
    record.on_train_end()
    text = (tmp_path / "history.csv").read_text()
    assert text == "epoch,loss,val_psnr,learning_rate\n1,3.0,,\n2,1.0,30.0,0.5\n"
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_backup_within_an_epoch(tmp_path):
    backup = Backup(tmp_path, RunState(epoch=3, step=5), minutes=0)
    backup.set_model(FakeModel())
    backup.set_params({"steps": 4})
    backup.on_train_begin()
    places = []
    for batch in range(4):
        backup.on_train_batch_end(batch, {"loss": 1.0})
        state = read_state(tmp_path)
        places.append((state.epoch, state.step))
    # After the last batch the end of the epoch saves: there would be no batch to go on with.
    assert places == [(3, 6), (3, 7), (3, 8), (3, 8)]
    backup.on_epoch_end(3)
    backup.on_train_end()
    state = read_state(tmp_path)
    assert (state.epoch, state.step) == (4, 0)
    assert state.seconds > 0


def test_backup_is_not_made_all_the_time(tmp_path):
    backup = Backup(tmp_path, RunState(), minutes=1000)
    backup.set_model(FakeModel())
    backup.set_params({"steps": 4})
    backup.on_train_begin()
    backup.on_train_batch_end(0, {"loss": 1.0})
    backup.on_train_end()
    assert read_state(tmp_path) is None
