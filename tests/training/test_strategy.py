import json
import os
import pathlib
import subprocess
import sys
import types

import keras
import pytest

import keras_mrisr
from keras_mrisr.config import write_config
from keras_mrisr.presets import preset_config
from keras_mrisr.replicas import replica_count
from keras_mrisr.training import strategy
from keras_mrisr.training.strategy import cpu_hint, dtype_policy, strategy_scope, training_precision

PACKAGE = pathlib.Path(keras_mrisr.__file__).parents[1]


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny):
    """What `two_replicas.py` measured."""
    folder = tmp_path_factory.mktemp("mirrored")
    write_config(tiny(), folder / "config.yaml")
    process = subprocess.run(
        [sys.executable, pathlib.Path(__file__).with_name("two_replicas.py"), folder / "config.yaml", folder],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])


def test_two_replicas_take_the_same_step_as_one(results):
    assert results["replicas"] == 2
    one, two = results["loss"]
    assert two == pytest.approx(one, rel=1e-4)
    # Adam hides a gradient that is twice too large in its weights, but not in its moments.
    difference, largest = results["momentum"]
    assert difference < 1e-3 * largest


def test_batch_statistics_are_those_of_the_whole_batch(results):
    for part in ("moving_mean", "moving_variance"):
        difference, largest = results[part]
        assert difference < 1e-5 * largest


def test_clip_norm_limits_the_whole_gradient(results):
    assert 0.5e-3 < results["norm"] < 1.001e-3
    difference, largest = results["clipped"]
    assert difference < 1e-4 * largest


def test_a_stopped_run_goes_on(results):
    assert results["interrupted"]
    assert results["resumed"][0] < 1e-6


def test_batch_must_be_shared_out_evenly(results):
    assert results["odd batch"] == "training.batch_size must be a multiple of the 2 replicas. Received: 3"
    assert not results["odd folder"]


def test_without_a_strategy():
    with strategy_scope("none", 3):
        assert replica_count() == 1


def test_policy_is_put_back():
    policy = keras.config.dtype_policy()
    with pytest.raises(RuntimeError), dtype_policy("mixed_bfloat16"):
        assert keras.config.dtype_policy().compute_dtype == "bfloat16"
        raise RuntimeError
    assert keras.config.dtype_policy() == policy


@pytest.mark.parametrize(
    ("flags", "policy"),
    [
        ("flags : fpu avx2 avx512f avx512_vnni", "float32"),
        ("flags : fpu avx512f avx512_bf16", "mixed_bfloat16"),
        ("flags : fpu avx512f amx_tile amx_bf16", "mixed_bfloat16"),
        ("Features : fp asimd bf16 i8mm", "mixed_bfloat16"),
        (None, "float32"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_has_it(monkeypatch, tmp_path, caplog, flags, policy):
    monkeypatch.setattr(strategy, "CPU_INFO", tmp_path / "cpuinfo")
    if flags:
        strategy.CPU_INFO.write_text(f"processor : 0\n{flags}\n")
    with dtype_policy("auto"):
        assert keras.config.dtype_policy().name == training_precision("auto") == policy
    assert not caplog.records
    with dtype_policy("mixed_bfloat16"):
        assert keras.config.dtype_policy().name == training_precision("mixed_bfloat16") == "mixed_bfloat16"
    assert len(caplog.records) == (policy == "float32")  # The slower one is warned about, and taken.


def test_auto_on_gpus(monkeypatch):
    tensorflow = pytest.importorskip("tensorflow")
    config = tensorflow.config
    details = {"old": {"compute_capability": (7, 5)}, "new": {"compute_capability": (9, 0)}}
    monkeypatch.setattr(config.experimental, "get_device_details", details.get)
    for gpus, policy in ((["new"], "mixed_bfloat16"), (["new", "old"], "float32")):
        monkeypatch.setattr(config, "list_physical_devices", lambda kind, gpus=gpus: gpus)
        assert training_precision("auto") == policy


def test_auto_on_gpus_of_pytorch(monkeypatch):
    capabilities = [(9, 0), (7, 5)]
    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(get_device_capability=capabilities.__getitem__))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    for count, policy in ((1, "mixed_bfloat16"), (2, "float32")):
        torch.cuda.device_count = lambda count=count: count
        assert training_precision("auto") == policy


@pytest.mark.parametrize(
    ("preset", "overrides", "gpus", "days"),
    [
        # 16 blocks of two convolutions of 64 x 64 x 9 weights, 6 operations each, on 16 patches of 48 x 48
        # pixels, 100,000 times: 2.6e16, or 3.0 days at 1e11 a second.
        ("full", {}, [], "3.0 days"),
        ("full", {"training.epochs": 4000}, [], "30.2 days"),
        ("full", {}, [(8, 0)], None),
        ("compact", {}, [], None),
    ],
)
def test_a_long_training_without_gpu_is_announced(monkeypatch, preset, overrides, gpus, days):
    monkeypatch.setattr("keras_mrisr.training.strategy._gpu_capabilities", lambda: gpus)
    hint = cpu_hint(preset_config(preset).replace(overrides))
    assert (hint is None) if days is None else (days in hint and "preset compact" in hint)
