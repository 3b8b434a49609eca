"""A Keras generator as one ONNX file that says what it is."""

import json
import logging
import pathlib
import re
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import onnx

from keras_mrisr.errors import ConfigError, MissingDependencyError, ModelError
from keras_mrisr.export import onnx_graph
from keras_mrisr.export.onnx_nodes import Nodes
from keras_mrisr.export.onnx_resolver import METADATA
from keras_mrisr.files import whole_file
from keras_mrisr.types import Model
from keras_mrisr.version import __version__

OPSET = 17
INPUT, OUTPUT = "lr", "sr"
LAYOUTS = ("nhwc", "nchw")
ATTEMPTS = 5

PASSES = (
    onnx_graph.merge_prelu,
    onnx_graph.restore_transposes,
    onnx_graph.trim_slices,
    onnx_graph.merge_edge_pads,
    onnx_graph.explicit_pads,
    onnx_graph.channels_first,
)


def convert(
    generator: Model, size: Sequence[int] | None = None, layout: str = "nhwc", surgery: bool = True
) -> onnx.ModelProto:
    """Converts a generator to ONNX.

    Args:
        generator: Functional `keras.Model` of slices or volumes, float32.
        size: Sizes of the spatial axes where they shall be fixed.
        layout: Of input and output: "nhwc" or "nchw".
        surgery: False leaves the graph as Keras and tf2onnx write it, but for names of the interface.

    Returns:
        An `onnx.ModelProto`, input "lr" and output "sr", opset 17; free dimensions are called batch, height
        and width (of volumes batch, x, y, z), those of the output sr_height and sr_width.

    Raises:
        ModelError: A layer has no equivalent in ONNX, or the layout is unknown.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"`layout` must be one of {', '.join(LAYOUTS)}. Received: {layout!r}")
    model = _sound_conversion(generator, size)
    _name_interface(model.graph, generator, size)
    nodes = Nodes(model)
    if surgery:
        for change in PASSES:
            change(nodes)
        if layout == "nhwc":
            onnx_graph.channels_last_interface(nodes)
    nodes.save()
    if surgery:
        name_after_layers(model.graph, [layer.name for layer in generator.layers])
    _check_operators(model, generator.name)
    model.producer_name, model.producer_version = "keras-mrisr", __version__
    check(model)
    return model


def _check_operators(model: onnx.ModelProto, name: str) -> None:
    """Raises ModelError for an operator that is not ONNX's; drops operator sets that nothing uses."""
    for node in model.graph.node:
        if not onnx.defs.has(node.op_type, node.domain):
            raise ModelError(
                f"{node.name.split('/')[0]} of {name} needs {node.op_type}, which ONNX does not have: export "
                "it as saved_model."
            )
    used = {node.domain for node in model.graph.node}
    for entry in [entry for entry in model.opset_import if entry.domain not in used]:
        model.opset_import.remove(entry)


def check(model: onnx.ModelProto) -> None:
    """Runs ONNX's checker and strict shape inference.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: The graph is not valid.
    """
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def add_metadata(model: onnx.ModelProto, metadata: dict[str, Any]) -> None:
    """Writes what a network is into its file.

    Args:
        model: `onnx.ModelProto`; earlier metadata goes.
        metadata: JSON values. All of them stand under `METADATA`, and the plain ones also by themselves, for
            those who look into the file with other programs.
    """
    del model.metadata_props[:]
    plain = {key: str(value) for key, value in metadata.items() if isinstance(value, str | int | float)}
    onnx.helper.set_model_props(model, {METADATA: json.dumps(metadata), **plain})


def rewrite_metadata(path: pathlib.Path, **changes: Any) -> None:
    """Changes some of what the file of a network says about it.

    Args:
        path: What `add_metadata` was called for.
        **changes: JSON values.

    Raises:
        DataError: The file cannot be written.
    """
    model = onnx.load(path)
    (values,) = (json.loads(entry.value) for entry in model.metadata_props if entry.key == METADATA)
    add_metadata(model, {**values, **changes})
    with whole_file(path) as temporary:
        onnx.save(model, temporary)


def name_after_layers(graph: onnx.GraphProto, layers: Iterable[str]) -> None:
    """Names nodes and what they make after the Keras layers that they come from: "block1_conv1/Conv".

    Args:
        graph: `onnx.GraphProto` whose tensors tf2onnx named after TensorFlow's operations.
        layers: Names of the layers.
    """
    fixed = {value.name for value in (*graph.input, *graph.output)}
    pattern = re.compile(
        rf"(?:^|/)({'|'.join(map(re.escape, sorted(layers, key=len, reverse=True)))})(?:_\d+)?/"
    )
    names: dict[str, str] = {}
    taken: set[str] = set()
    for node in graph.node:
        # Surgery gives tensors longer names, but keeps their beginning.
        layer = pattern.search(node.output[0]) or pattern.search(node.name)
        source = layer[1] if layer else node.name.split("/")[0].split(":")[0] or "graph"
        node.name = _free(f"{source}/{node.op_type}", taken)
        made = [node.name, *(f"{node.name}:{place}" for place in range(1, len(node.output)))]
        names.update((old, new) for old, new in zip(node.output, made, strict=True) if old not in fixed)
    _rename(graph, names)
    _name_constants(graph)


def _name_constants(graph: onnx.GraphProto) -> None:
    """Names constants after the first node that takes them, and its input."""
    constants = {item.name for item in graph.initializer}
    names: dict[str, str] = {}
    for node in graph.node:
        for place, old in enumerate(node.input):
            if old in constants:
                names.setdefault(old, f"{node.name}:{place}")
    _rename(graph, names)
    for item in graph.initializer:
        item.name = names[item.name]


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Gives tensors other names, wherever a node makes or takes them."""
    for node in graph.node:
        for tensors in (node.input, node.output):
            for place, old in enumerate(tensors):
                tensors[place] = names.get(old, old)


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number, free = number + 1, f"{name}_{number}"
    taken.add(free)
    return free


def _sound_conversion(generator: Model, size: Sequence[int] | None) -> onnx.ModelProto:
    """About one in fifty conversions of a 3-D network by tf2onnx 1.17 has an axis too many in its output."""
    rank = len(generator.output_shape)
    for _ in range(ATTEMPTS):
        model = _keras_to_onnx(generator, size)
        if len(model.graph.output[0].type.tensor_type.shape.dim) == rank:
            return model
    raise ModelError(
        f"tf2onnx gave {generator.name} another rank in {ATTEMPTS} attempts. Export it as saved_model."
    )


def _keras_to_onnx(generator: Model, size: Sequence[int] | None) -> onnx.ModelProto:
    shape = (None, *(size or generator.input_shape[1:-1]), generator.input_shape[-1])
    # Keras exports only what was called.
    generator(np.zeros((1, *(size or [8] * (len(shape) - 2)), shape[-1]), "float32"))
    signature = [keras.InputSpec(shape=shape, dtype="float32", name=INPUT)]
    log = logging.getLogger("tf2onnx")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            # Keras looks for names that NumPy 2 no longer has.
            warnings.simplefilter("ignore", FutureWarning)
            path = pathlib.Path(folder) / "raw.onnx"
            options = {"input_signature": signature, "opset_version": OPSET, "verbose": False}
            generator.export(path, format="onnx", **options)
            return onnx.load(path)
    except ImportError as error:
        # Keras names the package in its words alone.
        missing = error.name or ("onnxscript" if keras.backend.backend() == "torch" else "tf2onnx")
        raise MissingDependencyError(f"ONNX export needs {missing}: pip install {missing}") from error
    except (ValueError, NotImplementedError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"A layer of {generator.name} cannot be written as ONNX ({reason}). Export it as saved_model."
        ) from error
    finally:
        log.setLevel(level)


def _name_interface(graph: onnx.GraphProto, generator: Model, size: Sequence[int] | None) -> None:
    """Gives the output its name and all free dimensions theirs."""
    (source,), (target,) = graph.input, graph.output
    _rename(graph, {target.name: OUTPUT})
    target.name = OUTPUT
    axes = ("height", "width") if len(generator.input_shape) == 4 else ("x", "y", "z")
    in_shape = ["batch", *(size or axes), generator.input_shape[-1]]
    outputs = generator.compute_output_shape((1, *size, in_shape[-1]))[1:-1] if size else None
    out_shape = ["batch", *(outputs or [f"sr_{axis}" for axis in axes]), generator.output_shape[-1]]
    for value, shape in ((source, in_shape), (target, out_shape)):
        made = onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape)
        value.CopyFrom(made)
