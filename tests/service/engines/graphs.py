"""Graphs that are not as those of the shipped models."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from service.manifest import PROBABILITIES
from tests.service.stripes import stripes_graph

LOGITS = "logits"


def with_logits() -> onnx.ModelProto:
    """Stripes whose first output is not the probabilities."""
    model = stripes_graph("mnist")
    outputs = [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", 10]), *model.graph.output]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model


def in_double() -> onnx.ModelProto:
    """Stripes whose answer is float64."""
    model = stripes_graph("mnist")
    softmax = model.graph.node[-1]
    softmax.output[0] = "single"
    model.graph.node.append(helper.make_node("Cast", ["single"], [PROBABILITIES], to=TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    return model


def file_of(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path
