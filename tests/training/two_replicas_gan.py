"""Run by test_adversarial.py in a process of its own: TensorFlow must split its CPU before anything else."""

import json
import sys

import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from keras_mrisr.config import read_config  # noqa: E402
from keras_mrisr.training.adversarial import compiled_srgan, feature_network  # noqa: E402
from keras_mrisr.training.strategy import strategy_scope  # noqa: E402

config = read_config(sys.argv[1])
rng = np.random.default_rng(0)
lr, hr = rng.random((4, 8, 8, 1), "float32"), rng.random((4, 16, 16, 1), "float32")
lr[2:], hr[2:] = 0.1 * lr[2:], 0.1 * hr[2:]  # What a replica takes from its own half only is to show.


def after_one_step(config, start, eager):
    """{path: value} of the model and its optimizers after one step from the weights `start`."""
    features = feature_network(config)
    with strategy_scope(config.training.strategy, config.training.batch_size):
        model = compiled_srgan(config, 1, features)
    model.run_eagerly = eager
    if start is None:
        start = model.get_weights()
    model.set_weights(start)
    history = model.fit(lr, hr, batch_size=4, shuffle=False, verbose=0).history
    of_discriminator, of_generator = model.optimizer.optimizers
    parts = {
        "generator": model.generator.weights,
        "discriminator": model.discriminator.weights,
        "average": model.average_generator.weights,
        # Adam hides a gradient that is twice too large in the weights, but not in its moments.
        "generator moments": [v for v in of_generator.variables if "momentum" in v.path],
        "discriminator moments": [v for v in of_discriminator.variables if "momentum" in v.path],
    }
    found = {name: [np.array(v.numpy(), "float64") for v in part] for name, part in parts.items()}
    return found, {name: values[-1] for name, values in history.items()}, start


def compare(config):
    one, logs_one, start = after_one_step(config, None, eager=True)
    two, logs_two, _ = after_one_step(config.replace({"training.strategy": "mirrored"}), start, eager=False)
    result = {}
    for name, values in one.items():
        largest = max(float(np.abs(value).max()) for value in values)
        pairs = zip(values, two[name], strict=True)
        result[name] = max(float(np.abs(a - b).max()) for a, b in pairs) / largest
    return {**result, "logs": {name: (logs_one[name], logs_two[name]) for name in logs_one}}


off = {f"adversarial.{name}_weight": 0.0 for name in ("perceptual", "consistency", "r1")}
normalized = config.replace(
    {
        "generator": {"name": "srresnet", "blocks": 1, "filters": 4},
        "adversarial.discriminator.normalization": "batch",
        **off,
    }
)
# The options of the preset "stable" that look at the whole batch; the limit is below the norm of either
# network's gradient.
stable = config.replace(
    {
        "training.optimizer": "muon",
        "training.clip_norm": 1e-3,
        "adversarial.kind": "relativistic_average",
        "adversarial.r1_weight": 0.1,
        "adversarial.consistency_weight": 0.5,
    }
)
results = {
    "replicas": len(tf.config.list_logical_devices("CPU")),
    "stable": compare(stable),
    "batch": compare(normalized),
}
print(json.dumps(results))
