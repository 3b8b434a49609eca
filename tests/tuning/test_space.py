import keras_tuner
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.tuning.space import Parameter, SearchSpace

ENTRIES = {
    "generator.name": {"type": "choice", "values": ["srresnet", "edsr"]},
    "generator.filters": {"type": "choice", "values": [16, 32]},
    "generator.batch_norm": {"type": "boolean", "when": {"generator.name": ["srresnet"]}},
    "generator.residual_scaling": {
        "type": "float",
        "min": 0.1,
        "max": 1.0,
        "when": {"generator.name": ["edsr"]},
    },
    "training.noise_snr": {"type": "choice", "values": [None, 10, [5, 20]]},
    "training.batch_size": {"type": "int", "min": 2, "max": 16, "step": 2, "log": True},
    "training.learning_rate": {"type": "float", "min": 1e-4, "max": 1e-2, "log": True},
}


@pytest.fixture
def space():
    return SearchSpace.from_dict(ENTRIES)


def test_round_trip(space):
    assert space.to_dict() == ENTRIES
    assert SearchSpace.from_dict(space.to_dict()) == space


def test_declare(space):
    hp = keras_tuner.HyperParameters()
    # The first value of all, and what they make active.
    assert space.declare(hp) == {
        "generator.name": "srresnet",
        "generator.filters": 16,
        "generator.batch_norm": False,
        "training.noise_snr": None,
        "training.batch_size": 2,
        "training.learning_rate": 1e-4,
    }
    assert {parameter.name for parameter in hp.space} == set(ENTRIES)
    hp.values.update(
        {"generator.name": "edsr", "generator.residual_scaling": 0.123456, "training.noise_snr": "[5, 20]"}
    )
    values = space.declare(hp)
    assert "generator.batch_norm" not in values
    assert values["generator.residual_scaling"] == 0.1235, "four digits, whatever gRPC makes of a float"
    assert values["training.noise_snr"] == [5, 20]
    hp.values["generator.filters"] = 31.999998
    assert space.decode(hp.values)["generator.filters"] == 32


def test_what_is_drawn_is_in_range(space):
    oracle = keras_tuner.oracles.RandomSearchOracle(max_trials=60, hyperparameters=_declared(space), seed=3)
    drawn = [space.decode(oracle._random_values()) for _ in range(60)]
    for values in drawn:
        assert ("generator.batch_norm" in values) == (values["generator.name"] == "srresnet")
        assert 1e-4 <= values["training.learning_rate"] <= 1e-2
        assert values["training.batch_size"] in (2, 4, 8, 16)
    # As many below the geometric mean as above.
    assert 15 < sum(values["training.learning_rate"] < 1e-3 for values in drawn) < 45
    for key in ENTRIES:
        assert len({str(values[key]) for values in drawn if key in values}) > 1


def test_fixed(space):
    keys = list(ENTRIES)
    assert space.fixed("generator.name", "edsr").keys == tuple(
        key for key in keys if key not in ("generator.name", "generator.batch_norm")
    )
    assert all(not p.when for p in space.fixed("generator.name", "edsr").parameters)
    # Only edsr has it, so it cannot go to the config of both.
    [kept] = [
        p for p in space.fixed("generator.residual_scaling", 0.2).parameters if p.when and p.values == (0.2,)
    ]
    assert (kept.key, kept.when) == ("generator.residual_scaling", {"generator.name": ("edsr",)})
    assert space.fixed("training.seed", 3) == space


@pytest.mark.parametrize(
    ("parameter", "value", "encoded"),
    [
        ({"type": "choice", "values": [16, 32]}, 32, 32),
        ({"type": "choice", "values": [0, 0.5]}, 0, 0.0),
        ({"type": "choice", "values": ["a", None, [1, 2]]}, [1, 2], "[1, 2]"),
        ({"type": "choice", "values": [16, 32]}, 48, None),
        ({"type": "int", "min": 1, "max": 4}, 3, 3),
        ({"type": "float", "min": 0, "max": 1}, 2.0, None),
        ({"type": "int", "min": 2, "max": 16, "step": 2}, 8, 8),
        ({"type": "int", "min": 2, "max": 16, "step": 2}, 7, None),
        ({"type": "float", "min": 0.1, "max": 1, "step": 0.1}, 0.7, 0.7),
        ({"type": "float", "min": 0.1, "max": 1, "step": 0.1}, 0.75, None),
        ({"type": "float", "min": 1e-4, "max": 1, "step": 10, "log": True}, 0.01, 0.01),
        ({"type": "float", "min": 1e-4, "max": 1, "step": 10, "log": True}, 0.02, None),
        ({"type": "boolean"}, True, True),
    ],
)
def test_encode(parameter, value, encoded):
    parameter = Parameter.from_dict("key", parameter)
    assert parameter.encode(value) == encoded
    if encoded is not None:
        assert parameter.decode(encoded) == value


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"type": "float", "min": 0.1, "max": 0.01},
            "min must be less than max. Received: min 0.1, max 0.01",
        ),
        ({"type": "int", "min": 4, "max": 4}, "min must be less than max"),
        ({"type": "float", "min": 0, "max": 1, "log": True}, "min must be more than 0 where log is true"),
        ({"type": "float", "min": 0, "max": 1, "log": "yes please"}, "log must be true or false"),
        ({"type": "float", "min": "low", "max": 1}, "min must be a number. Received: 'low'"),
        ({"type": "float", "max": 1}, "min must be a number. Received: None"),
        ({"type": "int", "min": 1.5, "max": 4}, "min must be a whole number. Received: 1.5"),
        ({"type": "int", "min": 1, "max": 4, "step": 0}, "step must be more than 0. Received: 0"),
        ({"type": "int", "min": 1, "max": 4, "step": 1, "log": True}, "step must be more than 1"),
        (
            {"type": "int", "min": 1, "max": 4, "values": [1]},
            "unknown word 'values'. Known for int: log, max",
        ),
        ({"type": "choice", "values": []}, "a choice needs a list of values"),
        (
            {"type": "range", "min": 1, "max": 4},
            "type must be one of choice, int, float, boolean. Received: 'range'",
        ),
        ([1, 2], r"type must be one of .* Received: \[1, 2\]"),
        ({"type": "boolean", "when": "edsr"}, "when must hold keys and values"),
        (
            {"type": "boolean", "when": {"generator.names": "edsr"}},
            "when names 'generator.names', which is no",
        ),
        ({"type": "boolean", "when": {"generator.name": "unet"}}, "generator.name never is 'unet'"),
        (
            {"type": "boolean", "when": {"b.low": 1}},
            "when names 'b.low', which is no choice or boolean above",
        ),
    ],
)
def test_bad_entries(entry, message):
    entries = {
        "generator.name": {"type": "choice", "values": ["srresnet", "edsr"]},
        "b.low": {"type": "int", "min": 1, "max": 4},
        "key": entry,
    }
    with pytest.raises(MrisrError, match=message) as caught:
        SearchSpace.from_dict(entries)
    assert str(caught.value).startswith("key: ") and "\n" not in str(caught.value)


def test_numbers_may_be_words():
    # What YAML 1.1 makes of 1e-4.
    assert Parameter.from_dict("key", {"type": "float", "min": "1e-4", "max": 1}).low == 1e-4


def _declared(space):
    hp = keras_tuner.HyperParameters()
    space.declare(hp)
    return hp
