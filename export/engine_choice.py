"""Which engine runs a network on a CPU: the one that is asked for, or the fastest one installed."""

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import pathlib
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_mrisr.errors import MissingDependencyError, MrisrError
from keras_mrisr.files import write_json

ENGINES = ("onnxruntime", "openvino", "ncnn")
# What a network is timed on: an edge in pixels, and how often; the least counts. It is no smaller, because
# Winograd's convolutions gain as long as the features fit into the processor's cache, and a slice's do not.
_EDGE, _ROUNDS = 192, 3
# Before each run: onnxruntime's threads spin for a while after one, and would take a core from the next one.
_PAUSE = 0.05
_OTHERS = "`engine` and `precision` take others"
log = logging.getLogger(__name__)


def installed_engines() -> list[str]:
    """Those of `ENGINES` that are installed."""
    return [name for name in ENGINES if importlib.util.find_spec(name) is not None]


def check_installed(engine: str) -> None:
    """Raises MissingDependencyError where an engine is not installed."""
    if engine not in installed_engines():
        raise MissingDependencyError(f"`engine` {engine} is not installed: pip install {engine}")


def fastest_engine(
    path: pathlib.Path, channels: int, threads: int, networks: Mapping[str, Callable[[], Any]]
) -> tuple[str, Any]:
    """The fastest engine for a network here: measured once, then read from the user's cache.

    Args:
        path: The ONNX file.
        channels: Of its input.
        threads: Of the CPU.
        networks: {engine or engine:precision: function that makes an object with `predict_on_batch`}.

    Returns:
        (engine, its network). An engine that cannot run the network is left out.
    """
    key = _key(path, threads, list(networks))
    times = _read_cache().get(key)
    if times and set(times) <= set(networks):
        engine = min(times, key=times.__getitem__)
        log.info("Engine: %s, measured here before; %s", engine, _OTHERS)
        return engine, networks[engine]()
    made = {name: network for name, make in networks.items() if (network := _made(name, make))}
    times = _times(made, channels)
    if not times:  # Who runs it says what is wrong.
        return next(iter(made.items()))
    _write_cache(key, times)
    engine = min(times, key=times.__getitem__)
    words = ", ".join(f"{name} {1000 * each:.0f} ms" for name, each in times.items())
    log.info("Engine: %s, the fastest here for this network (%s); %s", engine, words, _OTHERS)
    return engine, made[engine]


def _made(name: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (MrisrError, ImportError) as error:
        log.info("%s does not run this network: %s", name, error)
        return None


def _times(networks: Mapping[str, Any], channels: int) -> dict[str, float]:
    """Seconds of each on one slice, in turns, so that what else the machine does meets all alike.

    Without the pause OpenVINO after onnxruntime took 0.144 s where it takes 0.125.
    """
    lr = np.random.default_rng(0).random((1, _EDGE, _EDGE, channels), "float32")
    times: dict[str, float] = {}
    for _ in range(_ROUNDS):
        for name, network in networks.items():
            time.sleep(_PAUSE)
            start = time.perf_counter()
            try:
                network.predict_on_batch(lr)
            except MrisrError:
                if name == "onnxruntime":  # Others may make something of a broken network.
                    return {}
                continue  # It has no time, and is not chosen.
            times[name] = min(times.get(name, float("inf")), time.perf_counter() - start)
    return times


def _key(path: pathlib.Path, threads: int, engines: list[str]) -> str:
    words = [_processor(), str(threads), *(f"{name} {_version(name)}" for name in sorted(engines))]
    return hashlib.sha256("\n".join(words).encode() + path.read_bytes()).hexdigest()[:32]


def _version(engine: str) -> str:
    try:
        return importlib.metadata.version(engine.partition(":")[0])
    except importlib.metadata.PackageNotFoundError:  # Installed under another name, as onnxruntime-gpu.
        return ""


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")


def _cache() -> pathlib.Path:
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base, "keras-mrisr", "engines.json")


def _read_cache() -> dict[str, dict[str, float]]:
    try:
        values = json.loads(_cache().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # None yet, or broken: it is measured again.
        return {}
    return values if isinstance(values, dict) else {}


def _write_cache(key: str, times: dict[str, float]) -> None:
    path = _cache()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**_read_cache(), key: times})
    except (OSError, MrisrError) as error:  # It is measured again the next time.
        log.info("%s cannot be written: %s", path, error)
