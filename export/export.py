"""A trained model to the place where it runs: written, checked against Keras, and described."""

import dataclasses
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_mrisr.degrade import Degradation, get_degradation
from keras_mrisr.errors import ConfigError, MissingDependencyError, ModelError
from keras_mrisr.export.describe import metadata
from keras_mrisr.export.onnx_resolver import FILE as ONNX_FILE
from keras_mrisr.export.parity import TOLERANCE, check_parity, probes
from keras_mrisr.files import check_new_directory, check_only_holds, whole_directory, write_json
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.models.storage import CARD, EXPORT, load_trained
from keras_mrisr.pretrained import find_model
from keras_mrisr.types import Model, PathLike

FORMATS = ("saved_model", "onnx", "litert")
PRECISIONS = ("float32", "float16", "int8")
LITERT_FILE, VERSION_FOLDER = "model.tflite", "1"
# Rounding to 11 bits in each of some forty layers; measured on trained networks: 2e-4.
_HALF_TOLERANCE = 5e-3
_OWN = {
    EXPORT, CARD, ONNX_FILE, LITERT_FILE, VERSION_FOLDER, "models.config", "batching.config",
    "monitoring.config", "docker-compose.yml", "tensorrt.md", "config.pbtxt",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        folder: Where.
        format: "saved_model", "onnx" or "litert".
        precision: "float32", "float16" or "int8".
        parity: Of `check_parity`, against the Keras model; None for int8, which is measured instead.
        psnr: {"float32", "int8"}: mean PSNR in dB on real slices; None but for int8.
        metadata: What the exported network says about itself.
    """

    folder: pathlib.Path
    format: str
    precision: str
    parity: dict | None
    psnr: dict | None
    metadata: dict

    def lines(self) -> Iterator[str]:
        """What a person wants to know, as lines of text."""
        if self.parity is not None:
            worst, cases = self.parity["max_difference"], self.parity["cases"]
            yield (
                f"Equal to Keras: difference of {worst:.2g} at most on {len(cases)} inputs "
                f"({self.parity['tolerance']:g} is allowed)"
            )
        if self.psnr is not None:
            cost = self.psnr["float32"] - self.psnr["int8"]
            yield (
                f"INT8 costs {cost:.2f} dB: PSNR {self.psnr['int8']:.2f} dB, float32 "
                f"{self.psnr['float32']:.2f} dB on {self.psnr['slices']} slices"
            )
        yield f"Wrote {self.folder} ({self.format}, {self.precision})"


def export_model(
    model: PathLike | Model,
    target: PathLike,
    to: str = "saved_model",
    *,
    size: Sequence[int] | None = None,
    layout: str = "nhwc",
    precision: str = "float32",
    calibration: PathLike | None = None,
    symmetric: bool = False,
    name: str | None = None,
    degradation: str | Degradation | None = None,
    perception: float = 0.0,
    overwrite: bool = False,
) -> Export:
    """Exports a trained model: batch normalisation folded, float32, any batch, height and width.

    Whatever is written is loaded again and compared with the Keras model, on noise, a phantom and real
    slices, at two sizes and batches of 1 and 3. Where they differ by more than 1e-4 nothing is left.

    Args:
        model: Path of a model directory or of a `.keras` file, a name from `mrisr models`, or a
            `keras.Model`, such as one that `model.fit` trained.
        target: Folder to write.
        to: "saved_model" (with what TensorFlow Serving needs), "onnx" or "litert".
        size: (height, width) to fix; LiteRT needs it. Of a model for volumes three sizes.
        layout: Of the ONNX network's input and output: "nhwc" or "nchw".
        precision: Of the ONNX network: "float32", "float16", or "int8", which needs `calibration`.
        calibration: Folder of HR slices, 8- or 16-bit images. They are degraded as the model was trained
            for; parity is checked on some, and INT8 calibrated on these and measured on others.
        symmetric: INT8 with zero point 0, as TensorRT demands; slower on CPUs.
        name: Of the model on a server; by default that of the target folder.
        degradation: What a `keras.Model` was trained to undo, where `calibration` needs it: its name, such as
            "bicubic", or a `Degradation`.
        perception: Of a model with a GAN end, how far towards it, from 0 to 1: see `models.perception`.
            Who runs the network without this package makes its result consistent with LR where the metadata
            say "consistent".
        overwrite: Replace an earlier export.

    Returns:
        `Export`; also written as `export.json`.

    Raises:
        ConfigError: An option that doesn't fit.
        ModelError: No such model, a layer without equivalent in the format, or a difference beyond the
            tolerance.
        MissingDependencyError: A package that the format needs is missing.
    """
    target = pathlib.Path(target)
    _check_options(to, layout, precision, calibration, symmetric)
    check_new_directory(target, overwrite)
    check_only_holds(target, _OWN)
    from keras_mrisr.export.calibration import real_slices
    from keras_mrisr.export.deployable import deployable

    generator, info = load_trained(model, perception)
    info = _with_degradation(info, degradation)
    _check_volumes(info, to, precision)
    size = _checked_size(size, generator, to)
    name = _checked_name(name or target.resolve().name)
    slices = None if calibration is None else real_slices(calibration, info, size=size)
    how: dict[str, Any] = {
        "precision": precision,
        "layout": layout,
        "size": list(size) if size else None,
        "name": name,
    }
    if precision == "int8":
        how["symmetric"] = symmetric
    values = metadata(generator, info, **how)
    lean = deployable(generator)
    inputs = probes(generator.input_shape[1:], size, slices.lr if slices else ())
    reference = keras_reference(generator)
    with whole_directory(target, overwrite) as folder:
        psnr, parity = None, None
        if to == "saved_model":
            run = _write_saved_model(lean, folder, values, size, name)
        elif to == "onnx":
            run, psnr = _write_onnx(lean, folder, values, size, slices)
        else:
            run = _write_litert(lean, folder, size)
        if precision != "int8":
            tolerance = TOLERANCE if precision == "float32" else _HALF_TOLERANCE
            parity = check_parity(reference, run, inputs, tolerance)
        export = Export(target, to, precision, parity, psnr, values)
        record = {"format": to, "precision": precision, "parity": parity, "psnr": psnr, "model": values}
        write_json(folder / EXPORT, record)
        _copy_card(model, folder)
    return export


def _with_degradation(info: ModelInfo, given: str | Degradation | None) -> ModelInfo:
    """The description of a model that was trained to undo what is given, or else what it says itself."""
    if given is None:
        return info
    degradation = get_degradation(given, info.factors) if isinstance(given, str) else given
    return dataclasses.replace(info, degradation=degradation.to_dict())


def _copy_card(model: PathLike | Model, folder: pathlib.Path) -> None:
    """Copies the card of a model directory, where there is one."""
    if not isinstance(model, str | os.PathLike):
        return
    path = find_model(model)
    card = (path.parent if path.suffix == ".keras" else path) / CARD
    if card.is_file():
        shutil.copyfile(card, folder / CARD)


def parse_size(text: str) -> tuple[int, ...]:
    """(256, 256) of "256x256".

    Raises:
        ConfigError: Anything else.
    """
    if not re.fullmatch(r"\d+(x\d+){1,2}", text) or "0" in text.split("x"):
        raise ConfigError(f"`size` must be HEIGHTxWIDTH, such as 256x256. Received: {text!r}")
    return tuple(map(int, text.split("x")))


def _check_options(
    to: str, layout: str, precision: str, calibration: PathLike | None, symmetric: bool
) -> None:
    for key, value, allowed in (
        ("to", to, FORMATS),
        ("layout", layout, ("nhwc", "nchw")),
        ("precision", precision, PRECISIONS),
    ):
        if value not in allowed:
            raise ConfigError(f"`{key}` must be one of {', '.join(allowed)}. Received: {value!r}")
    if to != "onnx" and (precision, layout) != ("float32", "nhwc"):
        raise ConfigError(f"{to} is written as float32, nhwc. Other precisions and layouts are for onnx.")
    if precision == "int8" and calibration is None:
        raise ConfigError("INT8 is calibrated on real slices: give a folder of them as `calibration`.")
    if symmetric and precision != "int8":
        raise ConfigError(f"`symmetric` is a kind of int8. Received: `precision` {precision}")


def _check_volumes(info: ModelInfo, to: str, precision: str) -> None:
    if info.dimensions == 3 and precision == "int8":
        raise ModelError("INT8 is for networks of slices. Export this network of volumes as float32.")
    if info.dimensions == 3 and to == "litert":
        raise ModelError("LiteRT is for networks of slices. Export this network of volumes as onnx.")


def _checked_size(size: Sequence[int] | None, generator: Model, to: str) -> tuple[int, ...] | None:
    rank = len(generator.input_shape) - 2
    if size is None:
        if to == "litert":
            raise ConfigError("LiteRT networks have one size: give it as `size`, such as 256x256.")
        return None
    if len(size) != rank or min(size) < 1:
        raise ConfigError(f"The model takes sizes of {rank} axes. Received: {'x'.join(map(str, size))}")
    return tuple(size)


def _checked_name(name: str) -> str:
    # It stands in paths and in TensorFlow Serving's and Triton's configuration.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ConfigError(f"{name!r} is no name for a model on a server: use letters, digits, _ . and -")
    return name


def keras_reference(generator: Model) -> Callable[[np.ndarray], Any]:
    import tensorflow as tf

    # A graph, so that what Keras computes is what is exported: eager layers take other kernels.
    spec = tf.TensorSpec((None, *generator.input_shape[1:]), tf.float32)
    return tf.function(lambda lr: generator(lr, training=False), input_signature=[spec])


def _write_saved_model(
    generator: Model, folder: pathlib.Path, values: dict, size: Sequence[int] | None, name: str
) -> Callable[[np.ndarray], Any]:
    import tensorflow as tf

    from keras_mrisr.export.saved_model import SERVING, write_saved_model, write_warmup
    from keras_mrisr.export.serving import write_serving_files

    version = folder / VERSION_FOLDER
    write_saved_model(generator, version, values, size)
    write_warmup(version, name, generator, size)
    write_serving_files(folder, name)
    serve = tf.saved_model.load(str(version)).signatures[SERVING]
    return lambda batch: serve(lr=tf.constant(batch))["sr"]


def _write_onnx(
    generator: Model, folder: pathlib.Path, values: dict, size: Sequence[int] | None, slices: Any
) -> tuple[Callable[[np.ndarray], np.ndarray], dict | None]:
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"ONNX export needs {error.name}: pip install onnx tf2onnx onnxruntime"
        ) from error
    from keras_mrisr.export import onnx_file, onnx_precision, tensorrt
    from keras_mrisr.export.calibration import psnr

    network = onnx_file.convert(generator, size, values["layout"])
    quality = None
    if values["precision"] == "float16":
        network = onnx_precision.to_float16(network)
    elif values["precision"] == "int8":
        before = onnx_runner(network.SerializeToString(), values["layout"])
        network = onnx_precision.to_int8(network, slices.calibration, values["symmetric"])
        after = onnx_runner(network.SerializeToString(), values["layout"])
        quality = {"float32": psnr(before, slices), "int8": psnr(after, slices), "slices": len(slices.lr)}
    onnx_file.add_metadata(network, values)
    onnx.save(network, folder / ONNX_FILE)
    tensorrt.write_recipes(network, folder, values)
    return onnx_runner(str(folder / ONNX_FILE), values["layout"]), quality


def onnx_runner(network: str | bytes, layout: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from (N, ..., C) to the SR array, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    feed, rank = session.get_inputs()[0].name, len(session.get_inputs()[0].shape)

    def run(batch: np.ndarray) -> np.ndarray:
        if layout == "nhwc":
            return session.run(None, {feed: batch})[0]
        sr = session.run(None, {feed: np.ascontiguousarray(np.moveaxis(batch, rank - 1, 1))})[0]
        return np.moveaxis(sr, 1, rank - 1)

    return run


def _write_litert(
    generator: Model, folder: pathlib.Path, size: Sequence[int] | None
) -> Callable[[np.ndarray], np.ndarray]:
    from keras_mrisr.export.litert import load_litert, write_litert

    write_litert(generator, folder / LITERT_FILE, size)
    return load_litert(folder / LITERT_FILE)
