"""Says the same in fewer operators: what Keras's exporter writes in a way that engines are slow at.

Answers stay the same to the last bit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, helper, numpy_helper

from service.manifest import IMAGE_INPUT


def lean(model: onnx.ModelProto) -> None:
    """Rewrites it in place."""
    graph = model.graph
    _scale_at_once(graph)
    for node in graph.node:
        _flatten_by_a_constant(graph, node)
    _prune(graph)


def _scale_at_once(graph: GraphProto) -> None:
    """Pixels to floats times a number, plus nothing: (pixel - 0) * scale is one operator in ONNX.

    ONNX Runtime multiplies [N,H,W,1] by a number pixel by pixel, since their last dimension is 1: it took as long for
    that as for the whole rest of a small net.
    """
    chain = _chain(graph, IMAGE_INPUT, ("Cast", "Mul", "Add"))
    if len(chain) < 3:
        return
    cast, times, plus = chain
    scale, offset = _other_input(graph, times, cast), _other_input(graph, plus, times)
    if scale is None or scale.size != 1 or offset is None or offset.any():
        return
    prefix = f"{times.output[0]}_"
    graph.initializer.extend(
        [
            numpy_helper.from_array(scale.reshape(()), f"{prefix}scale"),
            numpy_helper.from_array(np.uint8(0), f"{prefix}zero"),
        ]
    )
    inputs = [IMAGE_INPUT, f"{prefix}scale", f"{prefix}zero"]
    node = helper.make_node("DequantizeLinear", inputs, list(plus.output), name=f"{prefix}scaled")
    _replace(graph, plus, node)


def _flatten_by_a_constant(graph: GraphProto, node: NodeProto) -> None:
    """A shape of the batch's size and a number, made by six operators in every run, is [-1, number]."""
    if node.op_type != "Reshape":
        return
    cast = _maker(graph, node.input[1])
    concat = None if cast is None or cast.op_type != "Cast" else _maker(graph, cast.input[0])
    if concat is None or concat.op_type != "Concat" or len(concat.input) != 2:
        return
    width = _constant(graph, concat.input[1])
    if width is None or width.shape != (1,) or not _is_batch_size(graph, concat.input[0]):
        return
    shape = f"{node.output[0]}_shape"
    graph.initializer.append(numpy_helper.from_array(np.array([-1, width[0]], np.int64), shape))
    node.input[1] = shape


def _is_batch_size(graph: GraphProto, name: str) -> bool:
    """Whether it is the first number of some tensor's shape."""
    first = _maker(graph, name)
    if first is None or first.op_type != "Slice":
        return False
    start, end = (_constant(graph, bound) for bound in first.input[1:3])
    if start is None or end is None or list(start) != [0] or list(end) != [1]:
        return False
    source = _maker(graph, first.input[0])
    while source is not None and source.op_type in ("Cast", "Gather"):
        # A Gather puts the dimensions in Keras's order; the batch is the first in every order.
        order = _constant(graph, source.input[1]) if source.op_type == "Gather" else None
        if order is not None and order.flat[0] != 0:
            return False
        source = _maker(graph, source.input[0])
    return source is not None and source.op_type == "Shape"


def _chain(graph: GraphProto, name: str, operators: Sequence[str]) -> list[NodeProto]:
    """The nodes that take a tensor one after the other, as far as each is the only one to do so and is of the next
    kind."""
    found: list[NodeProto] = []
    for operator in operators:
        takers = [node for node in graph.node if name in node.input]
        if len(takers) != 1 or takers[0].op_type != operator:
            break
        found += takers
        name = takers[0].output[0]
    return found


def _other_input(graph: GraphProto, node: NodeProto, before: NodeProto) -> NDArray[Any] | None:
    """The constant that a node takes beside the output of the one before it."""
    others = [name for name in node.input if name != before.output[0]]
    return _constant(graph, others[0]) if len(others) == 1 else None


def _constant(graph: GraphProto, name: str) -> NDArray[Any] | None:
    found = next((tensor for tensor in graph.initializer if tensor.name == name), None)
    return None if found is None or found.external_data else numpy_helper.to_array(found)


def _maker(graph: GraphProto, name: str) -> NodeProto | None:
    return next((node for node in graph.node if name in node.output), None)


def _replace(graph: GraphProto, old: NodeProto, new: NodeProto) -> None:
    nodes = [new if node is old else node for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _prune(graph: GraphProto) -> None:
    """Without the nodes and constants that no output needs."""
    needed = {output.name for output in graph.output}
    nodes: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.insert(0, node)
            needed.update(node.input)
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
