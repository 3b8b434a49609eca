"""Run by test_strategy.py in a process of its own: TensorFlow must split its CPU before anything else."""

import csv
import json
import os
import pathlib
import signal
import sys

import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from keras_mrisr.config import read_config  # noqa: E402
from keras_mrisr.errors import MrisrError  # noqa: E402
from keras_mrisr.training import TrainingInterruptedError, train  # noqa: E402
from keras_mrisr.training.generator import compiled_generator  # noqa: E402
from keras_mrisr.training.record import Record  # noqa: E402
from keras_mrisr.training.state import restore_backup  # noqa: E402
from keras_mrisr.training.strategy import strategy_scope  # noqa: E402

Record._write_pictures = lambda self: None  # Which takes more time than these steps.

config = read_config(sys.argv[1])
out = pathlib.Path(sys.argv[2])
mirrored = {"training.strategy": "mirrored", "training.epochs": 1}


def saved(config, run, part):
    """The variables of the run's newest backup, optimizer included, whose path holds `part`."""
    model = compiled_generator(config, 1)
    restore_backup(run / "backup", model)
    found = [v for v in (*model.variables, *model.optimizer.variables) if part in v.path]
    assert found, part
    return [np.array(v.numpy(), "float64") for v in found]


def difference(one, other):
    """Largest difference between two lists of arrays, and their largest value."""
    largest = max(float(np.abs(a).max()) for a in one)
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True)), largest


def moments_after_one_step(config, start):
    """(moments of the optimizer after one step on a fixed batch from the weights `start`, `start`)"""
    rng = np.random.default_rng(0)
    lr, hr = rng.random((4, 8, 8, 1), "float32"), rng.random((4, 16, 16, 1), "float32")
    with strategy_scope(config.training.strategy, config.training.batch_size):
        model = compiled_generator(config, 1)
    start = start or model.get_weights()
    model.set_weights(start)
    model.fit(lr, hr, batch_size=4, shuffle=False, verbose=0)
    moments = [v for v in model.optimizer.variables if "momentum" in v.path]
    return [np.array(v.numpy(), "float64") for v in moments], start


def loss(run):
    return float(next(csv.DictReader((run / "history.csv").read_text().splitlines()))["loss"])


def interrupt(epoch, step, logs):
    if step == 2:
        os.kill(os.getpid(), signal.SIGINT)


results = {"replicas": len(tf.config.list_logical_devices("CPU"))}

# One step of a network with batch normalisation, on one device and on two.
normalized = {"generator": {"name": "srresnet", "blocks": 1, "filters": 4}, "training.steps_per_epoch": 1}
single = config.replace({**normalized, "training.epochs": 1})
one = train(single, out / "one")
two = train(config.replace({**normalized, **mirrored}), out / "two")
results["loss"] = loss(one), loss(two)
for part in ("momentum", "moving_mean", "moving_variance"):
    results[part] = difference(saved(single, one, part), saved(single, two, part))

# One step whose gradient is clipped, the limit being far below its norm.
limited = config.replace({"training.optimizer": "muon", "training.clip_norm": 1e-3})
one, start = moments_after_one_step(limited, None)
two, _ = moments_after_one_step(limited.replace(mirrored), start)
results["clipped"] = difference(one, two)

# Stopped and continued on two devices.
clipped = config.replace({**mirrored, "training.clip_norm": 1e-3, "training.steps_per_epoch": 3})
whole = train(clipped, out / "whole")
try:
    train(clipped, out / "stopped", report=interrupt)
    results["interrupted"] = False
except TrainingInterruptedError:
    results["interrupted"] = True
stopped = train(clipped, out / "stopped")
clipped = clipped.replace({"training.strategy": "none"})  # To look at what they saved.
results["resumed"] = difference(saved(clipped, whole, ""), saved(clipped, stopped, ""))
# The first moments after t steps are a sum of gradients whose weights add up to 1 - 0.9**t.
moments = saved(clipped, whole, "momentum")
results["norm"] = float(np.sqrt(sum((value**2).sum() for value in moments)) / (1 - 0.9**3))

try:
    train(config.replace({**mirrored, "training.batch_size": 3}), out / "odd")
except MrisrError as error:
    results["odd batch"] = str(error)
results["odd folder"] = (out / "odd").exists()
print(json.dumps(results))
