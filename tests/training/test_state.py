import keras
import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.training.state import RunState, read_state, restore_backup, save_backup


def small_model():
    inputs = keras.Input((3,), name="input")
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(inputs))
    model.compile(keras.optimizers.Adam(0.1), loss="mse")
    return model


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_round_trip(tmp_path):
    model = small_model()
    model.train_on_batch(np.ones((4, 3)), np.ones((4, 2)))
    state = RunState(
        epoch=2, step=7, best=31.5, best_epoch=1, seconds=3.0, history=[{"epoch": 1, "loss": 0.5}]
    )
    save_backup(tmp_path, model, state)
    assert read_state(tmp_path) == state

    other = small_model()
    restore_backup(tmp_path, other)
    variables = model.variables + model.optimizer.variables
    for mine, restored in zip(variables, other.variables + other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), restored.numpy())
    assert int(other.optimizer.iterations) == 1


def test_only_the_newest_stays(tmp_path):
    model = small_model()
    (tmp_path / "writing").mkdir()
    (tmp_path / "writing" / "model.weights.h5").write_text("what a kill left")
    for state in (
        RunState(epoch=0, step=99),
        RunState(epoch=1, step=0),
        RunState(epoch=1, step=5),
        RunState(epoch=2, step=0),
        RunState(epoch=2, step=0, finished=True),
    ):
        save_backup(tmp_path, model, state)
        assert len(names(tmp_path)) == 1
        assert read_state(tmp_path) == state
    assert names(tmp_path) == ["backup-00002-000000-end"]


def test_killed_between_two_backups(tmp_path):
    # The newer one is complete as soon as it has its name.
    model = small_model()
    save_backup(tmp_path / "old", model, RunState(epoch=1, step=0))
    save_backup(tmp_path / "new", model, RunState(epoch=1, step=5))
    (tmp_path / "old" / "backup-00001-000000").rename(tmp_path / "new" / "backup-00001-000000")
    (tmp_path / "new" / "writing").mkdir()
    assert read_state(tmp_path / "new") == RunState(epoch=1, step=5)


def test_nothing_there(tmp_path):
    assert read_state(tmp_path / "backup") is None


@pytest.mark.parametrize("content", ["", "[1]", '{"epoch": 1, "unknown": 2}', '{"epoch": "x"}'])
def test_broken_state(tmp_path, content):
    save_backup(tmp_path, small_model(), RunState(epoch=1, step=0))
    (tmp_path / "backup-00001-000000" / "state.json").write_text(content)
    with pytest.raises(MrisrError, match=r"state\.json cannot be read: .*`overwrite`") as caught:
        read_state(tmp_path)
    assert "\n" not in str(caught.value)
