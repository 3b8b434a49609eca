"""How far work is, and how much time is left."""

import logging

import pytest

from keras_mrisr import terminal


@pytest.fixture
def clock(monkeypatch):
    """A function that sets the clock, which starts at 0 s."""
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "keras_mrisr")
    return lambda: [record.getMessage() for record in caplog.records]


def test_progress_off_a_terminal(clock, lines):
    with terminal.progress_bar("Upscaling") as progress:
        for seconds, done in ((1, 1), (11, 3), (12, 4), (22, 10), (1000, 20), (8000, 30), (8100, 40)):
            clock(seconds)
            progress(done, 40)
    assert lines() == [
        "Upscaling: 3 of 40, 2 min left",
        "Upscaling: 10 of 40, 66 s left",
        "Upscaling: 20 of 40, 17 min left",
        "Upscaling: 30 of 40, 44 min left",
    ]


def test_training_off_a_terminal(clock, lines):
    """A run of 10 epochs that is resumed with the fourth; an epoch takes 100 s."""
    with terminal.training_progress(epochs=10, steps=5) as report:
        clock(50)  # Slices are read.
        for epoch in (4, 5):
            for step in range(1, 6):
                report(epoch, step, {"loss": 0.25})
                clock(50 + 100 * (epoch - 4) + 20 * step)
            report(epoch, None, {"loss": 0.25, "val_psnr": 30.0, "val_ssim": 0.9})
    scores = "loss 0.25000, validation PSNR 30.00 dB, SSIM 0.9000"
    assert lines() == [f"Epoch 4: {scores}, 10 min left", f"Epoch 5: {scores}, 8 min left"]


def test_long_epochs_say_how_far_they_are(clock, lines):
    with terminal.training_progress(steps=100) as report:
        for step in range(1, 101):
            report(1, step, {"loss": 0.25})
            clock(10 * step)
        report(1, None, {"loss": 0.25})
    found = lines()
    assert found[0] == "Epoch 1: 8 of 100, 13 min left"
    assert found[-1] == "Epoch 1: loss 0.25000"  # The number of epochs is not known.
    assert 10 < len(found) < 20


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(60, "60 s"), (89 * 60, "89 min"), (90 * 60, "1 h 30 min"), (30 * 3600, "30 h 0 min")],
)
def test_time_left(clock, seconds, text):
    clock(seconds)
    assert terminal._left(0.0, 1, 2) == f", {text} left"
    assert terminal._left(0.0, 0, 2) == terminal._left(0.0, 2, 2) == ""
