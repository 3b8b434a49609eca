"""An exported ONNX network at work; needs onnxruntime, and neither Keras nor TensorFlow."""

import functools
import json
import logging
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from keras_mrisr.checks import one_of
from keras_mrisr.errors import ConfigError, MissingDependencyError, ModelError
from keras_mrisr.export.engine_choice import ENGINES, check_installed, fastest_engine, installed_engines
from keras_mrisr.export.exported_resolver import ExportedSuperResolver
from keras_mrisr.pretrained import find_model
from keras_mrisr.types import PathLike

FILE = "model.onnx"
PRECISIONS = ("auto", "float32", "bfloat16")
METADATA = "keras_mrisr"  # Key of the file's metadata that holds all of it as JSON.
FOR_CPU = "for_cpu"  # Key of these: the network is written as onnxruntime is fast with on CPUs already.
_SUFFIX = "ExecutionProvider"
log = logging.getLogger(__name__)


def is_onnx(path: PathLike) -> bool:
    """Whether a path is an ONNX file, by its name, or the folder of an ONNX export."""
    path = pathlib.Path(path)
    return path.suffix == ".onnx" or (path / FILE).is_file()


class OnnxSuperResolver(ExportedSuperResolver):
    """`SuperResolver` with an ONNX network of `mrisr export`: the same calls, tiles and volumes.

    Examples:
        >>> sr = OnnxSuperResolver.load("exported/model.onnx")(lr)
    """

    @classmethod
    def load(
        cls,
        path: PathLike,
        memory: int | str | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        engine: str = "auto",
        precision: str = "float32",
    ) -> Self:
        """Loads an ONNX file.

        Args:
            path: A `model.onnx` that `mrisr export` wrote, the folder that it is in, or the name of a bundled
                model, such as "any-x2".
            memory: Bytes that this process may come to occupy in all.
            providers: Where onnxruntime runs it, in order of preference: "cpu", "cuda", "tensorrt" or
                onnxruntime's own names; by default CUDA where it is installed, or else the CPU.
            threads: Of the CPU; by default all cores.
            engine: What runs it on a CPU: "onnxruntime", "openvino", "ncnn", or "auto" for the fastest of
                those that are installed, which is measured once for each network and machine.
            precision: What it computes in: "float32", or "bfloat16", which OpenVINO does on processors with
                AMX or AVX512-BF16, faster and with two to three digits; or "auto" for the faster of these.

        Raises:
            ModelError: Nothing there, no ONNX network, not one of ours, a provider that isn't installed, an
                engine that does not run this network, or no bfloat16 in this processor.
            ConfigError: An unknown engine or precision, or one that has no providers.
            MissingDependencyError: The engine is not installed.
        """
        engine = _check_engine(engine, providers, precision)
        path = find_model(path)
        name = path.resolve().name
        path = path / FILE if path.is_dir() else path
        if not path.is_file():
            raise ModelError(f"{path} does not exist. Give a model.onnx that mrisr export wrote.")
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependencyError(f"{path} needs onnxruntime: pip install onnxruntime onnx") from error
        available = onnxruntime.get_available_providers()
        on_cpu = engine not in ("auto", "onnxruntime")
        chosen = [f"CPU{_SUFFIX}"] if on_cpu else _providers(providers, available)
        session = _session(onnxruntime, path, str(path), chosen, threads)
        metadata = _metadata(session, path)
        active = _check_active(session.get_providers()[0], chosen[0], bool(providers))
        if active != f"CPU{_SUFFIX}":
            return cls(_Network(session, metadata, path), metadata, memory, name)
        if metadata.get("symmetric"):
            log.warning(
                "%s has 8-bit activations with a sign, as TensorRT wants them: on a CPU about half of "
                "its convolutions run in float. Export it without `symmetric` for this machine.",
                path,
            )
        faster = None if metadata.get(FOR_CPU) else _for_cpu(path)
        if faster is not None:
            session = _session(onnxruntime, path, faster, [active], threads)
        network = _engine(
            _Network(session, metadata, path), metadata, path, threads, engine, providers, precision
        )
        return cls(network, metadata, memory, name)


class _Network:
    """An onnxruntime session as `SuperResolver` takes a network."""

    def __init__(self, session: Any, metadata: dict[str, Any], path: pathlib.Path) -> None:
        self.session = session
        self.path = path
        self.channels_first = metadata.get("layout") == "nchw"
        (source,) = session.get_inputs()
        self.input, self.shape = source.name, source.shape

    def predict_on_batch(self, lr: np.ndarray) -> np.ndarray:
        """(N, ..., C) float32 -> the SR array."""
        last = lr.ndim - 1
        if self.channels_first:
            lr = np.ascontiguousarray(np.moveaxis(lr, last, 1))
        fixed = [size for size in self.shape if isinstance(size, int)]
        pairs = zip(lr.shape, self.shape, strict=True)
        if any(isinstance(wanted, int) and wanted != size for size, wanted in pairs):
            place = slice(1, None) if self.channels_first else slice(None, -1)
            raise ModelError(
                f"The network was exported for slices of {'x'.join(map(str, fixed[place]))} only. Received: "
                f"shape {lr.shape}. Export it without `size`."
            )
        try:
            (sr,) = self.session.run(None, {self.input: lr})
        except Exception as error:  # onnxruntime raises classes of its own, some of them plain RuntimeErrors.
            raise ModelError(
                f"{self.path} fails on {lr.shape}: {_reason(error)}. Export it again."
            ) from error
        return np.moveaxis(sr, 1, last) if self.channels_first else sr


def _check_engine(engine: str, providers: Sequence[str] | None, precision: str) -> str:
    """The engine that is asked for, by its own name or by a precision that only one of them has."""
    if engine not in ("auto", *ENGINES):
        raise ConfigError(f"`engine` must be auto, {' or '.join(ENGINES)}. Received: {engine!r}")
    one_of("precision", precision, PRECISIONS)
    if precision == "bfloat16":
        if engine not in ("auto", "openvino"):
            raise ConfigError(f"`precision` bfloat16 is OpenVINO's. Received: `engine` {engine}")
        engine = "openvino"
    if engine not in ("auto", "onnxruntime"):
        check_installed(engine)
        if providers:
            raise ConfigError(f"`providers` are onnxruntime's: leave them out with `engine` {engine}.")
    return engine


def _engine(
    network: _Network,
    metadata: dict[str, Any],
    path: pathlib.Path,
    threads: int | None,
    engine: str,
    providers: Sequence[str] | None,
    precision: str,
) -> Any:
    """The network as the engine and precision that are asked for run it, or the fastest of them."""
    if engine == "onnxruntime" or providers:
        return network
    count = threads or len(os.sched_getaffinity(0))
    makers: dict[str, Callable[[], Any]] = {}
    if precision != "bfloat16":
        makers["onnxruntime"] = lambda: network
        makers["openvino"] = functools.partial(_openvino, path, count, "float32")
        makers["ncnn"] = functools.partial(_ncnn, path, count)
    if precision != "float32" and not _draws_grain(metadata):
        makers["openvino:bfloat16"] = functools.partial(_openvino, path, count, "bfloat16")
    if not makers:
        raise ModelError(f"{path} draws grain, whose phases have no digits left in bfloat16. Leave it out.")
    reason = _only_onnxruntime(network, metadata)
    if reason:
        if engine != "auto":
            raise ModelError(f"{path} {reason}: only onnxruntime runs it. Leave out `engine`.")
        return network
    known = installed_engines() if engine == "auto" else [engine]
    makers = {name: make for name, make in makers.items() if name.partition(":")[0] in known}
    if len(makers) == 1:
        return next(iter(makers.values()))()
    return fastest_engine(path, network.shape[-1], count, makers)[1]


def _only_onnxruntime(network: _Network, metadata: dict[str, Any]) -> str:
    """Why no other engine is given a network, as a message says it; empty where others are."""
    if metadata.get("precision", "float32") != "float32":
        return f"is of the precision {metadata['precision']}"
    if network.channels_first or len(network.shape) != 4:
        return "is channels-first or one of volumes"
    return "is for slices of one size" if isinstance(network.shape[1], int) else ""


def _draws_grain(metadata: dict[str, Any]) -> bool:
    """Whether the network has noise of its own, `ContentNoise`."""
    generator = metadata.get("generator")
    return isinstance(generator, dict) and bool(generator.get("thin_noise"))


def _openvino(path: pathlib.Path, threads: int, precision: str) -> Any:
    from keras_mrisr.export.openvino_network import OpenVinoNetwork

    return OpenVinoNetwork(path, threads, precision)


def _ncnn(path: pathlib.Path, threads: int) -> Any:
    from keras_mrisr.export.ncnn_network import NcnnNetwork

    return NcnnNetwork(path, threads)


def _session(
    onnxruntime: Any, path: pathlib.Path, network: str | bytes, providers: Sequence[str], threads: int | None
) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(network, options, providers=providers)
    except Exception as error:  # onnxruntime raises classes of its own, some of them plain RuntimeErrors.
        raise ModelError(
            f"{path} cannot be loaded as an ONNX network ({_reason(error)}). Export it again."
        ) from error


def _reason(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _providers(wanted: Sequence[str] | None, available: Sequence[str]) -> list[str]:
    """onnxruntime's names of providers; a CPU stands last for what the others don't have."""
    if not wanted:
        usual = (f"CUDA{_SUFFIX}", f"CPU{_SUFFIX}")
        return [name for name in usual if name in available]
    by_short = {name.removesuffix(_SUFFIX).lower(): name for name in available}
    chosen = []
    for name in map(str.strip, wanted):
        found = by_short.get(name.removesuffix(_SUFFIX).lower())
        if found is None:
            raise ModelError(
                f"onnxruntime has no provider {name!r} here. It has: {', '.join(sorted(by_short))}. Those of "
                "NVIDIA are in the package onnxruntime-gpu, which is installed in place of onnxruntime."
            )
        chosen.append(found)
    return list(dict.fromkeys([*chosen, f"CPU{_SUFFIX}"]))


def _metadata(session: Any, path: pathlib.Path) -> dict[str, Any]:
    """What the network says about itself."""
    try:
        text = session.get_modelmeta().custom_metadata_map.get(METADATA)
        if text is None:
            raise ModelError(f"{path} is not a network of mrisr: export one with mrisr export --to onnx.")
        values = json.loads(text)
    except ModelError:
        raise
    except ValueError as error:  # Broken UTF-8 or JSON.
        raise ModelError(f"{path} has damaged metadata ({error}). Export it again.") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} has damaged metadata. Export it again.")
    return values


def _check_active(active: str, chosen: str, asked: bool) -> str:
    """The provider that works; onnxruntime takes the CPU where the libraries of a GPU are missing."""
    if active == chosen:
        return active
    missing = chosen.removesuffix(_SUFFIX)
    if asked:
        raise ModelError(
            f"onnxruntime could not start {missing}: its libraries or its device are missing, as the lines "
            "above say. Install them, or choose `providers` cpu."
        )
    log.warning("onnxruntime could not start %s; the network runs on the CPU", missing)
    return active


def _for_cpu(path: pathlib.Path) -> bytes | None:
    """The network as onnxruntime is fast with on CPUs, in bytes; None where it stays as it is."""
    try:
        import onnx
    except ImportError:
        log.info("Without the package onnx networks are slower on CPUs, with PReLU by about a quarter")
        return None
    from keras_mrisr.export.onnx_graph import rewrite_for_cpu
    from keras_mrisr.export.onnx_weights import full_weights

    model = onnx.load(path)
    full_weights(model)
    rewrite_for_cpu(model)
    return model.SerializeToString()
