"""Small pieces for rewriting ONNX graphs: who makes a tensor, who takes it, which are constant."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


class Nodes:
    """The nodes of a model's graph as an editable list with its constants.

    Args:
        model: `onnx.ModelProto`; changed by `save`.

    Attributes:
        graph: Its graph.
        nodes: Its nodes in order of execution.
        constants: {name: array} of its initialisers.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = graph = model.graph
        self.nodes = list(graph.node)
        self.constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self._shapes = _shapes(model)
        self._names = {name for node in self.nodes for name in (*node.input, *node.output)}

    def producer(self, tensor: str, kind: str | None = None) -> onnx.NodeProto | None:
        """The node that makes a tensor; None if there is none, or if it is not of the kind."""
        for node in self.nodes:
            if tensor in node.output:
                return node if kind in (None, node.op_type) else None
        return None

    def consumers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that take a tensor."""
        return [node for node in self.nodes if tensor in node.input]

    def shape(self, tensor: str) -> list[int | None] | None:
        """[size of each axis] of a tensor, None where it is free; None if it is not known."""
        return self._shapes.get(tensor)

    def constant(self, array: np.ndarray, name: str) -> str:
        """Adds a constant under a name that is still free, and returns that name."""
        name = self.free(name)
        self.constants[name] = np.asarray(array)
        return name

    def free(self, name: str) -> str:
        """A name like `name` that nothing has yet."""
        number, free = 1, name
        while free in self._names or free in self.constants:
            number, free = number + 1, f"{name}_{number}"
        self._names.add(free)
        return free

    def replace(self, old: onnx.NodeProto, new: Iterable[onnx.NodeProto]) -> None:
        """Puts nodes in the place of one node."""
        at = next(i for i, node in enumerate(self.nodes) if node is old)
        self.nodes[at : at + 1] = new

    def reconnect(self, old: str, new: str) -> None:
        """Makes all that take the tensor `old` take `new`."""
        for node in self.nodes:
            for place, name in enumerate(node.input):
                if name == old:
                    node.input[place] = new

    def save(self) -> None:
        """Writes nodes and constants back to the graph, without those that nothing needs."""
        needed = {output.name for output in self.graph.output}
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        del self.graph.node[:], self.graph.initializer[:], self.graph.value_info[:]
        self.graph.node.extend(reversed(kept))
        self.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(array, order="C"), name)
            for name, array in self.constants.items()
            if name in needed
        )


def _shapes(model: onnx.ModelProto) -> dict[str, list[int | None]]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """{name: value} of a node's attributes."""
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    """Sets an attribute, or removes it where the value is None."""
    for item in [item for item in node.attribute if item.name == name]:
        node.attribute.remove(item)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))
