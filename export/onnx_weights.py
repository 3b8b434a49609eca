"""Weights of an ONNX network in half precision on disk, and in float32 when it runs."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_SUFFIX = "_half"


def halve_weights(model: onnx.ModelProto) -> None:
    """Stores float32 constants that float16 holds exactly as such, cast when the network is loaded.

    Those of a packed model are so. The network computes in float32 as before: every runtime folds the casts.

    Args:
        model: `onnx.ModelProto`; changed in place.
    """
    casts = []
    for item in model.graph.initializer:
        values = numpy_helper.to_array(item)
        if item.data_type != TensorProto.FLOAT:
            continue
        half, name = values.astype("float16"), item.name
        if not np.array_equal(half, values):
            continue
        item.CopyFrom(numpy_helper.from_array(half, name + _SUFFIX))
        casts.append(helper.make_node("Cast", [name + _SUFFIX], [name], f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def full_weights(model: onnx.ModelProto) -> None:
    """The reverse of `halve_weights`; a network without such constants stays as it is."""
    halves = {item.name: item for item in model.graph.initializer if item.name.endswith(_SUFFIX)}
    for node in [node for node in model.graph.node if node.op_type == "Cast"]:
        item = halves.get(node.input[0])
        if item is not None:
            values = numpy_helper.to_array(item).astype(np.float32)
            item.CopyFrom(numpy_helper.from_array(values, node.output[0]))
            model.graph.node.remove(node)
