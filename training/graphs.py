"""Keras → ONNX: the served graph and the graph of every layer's output, over the weights in the Keras file."""

import math
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.utils import Extractor

from service.manifest import FEATURE_MAPS, IMAGE_INPUT, MODEL, PROBABILITIES
from training.calibration import LEAST_ENTROPY, Calibration
from training.halves import OUTPUT_FIRST, Kept, kept_in
from training.lean import lean
from training.naming import TEMPERATURE, is_preparation
from training.whole_files import naming

SOFTMAX = "softmax"


def serving_model(net: keras.Model, calibration: Calibration) -> keras.Model:
    """The trained net with calibration and softmax: uint8 [N,H,W,C] → probabilities float32 [N,classes]."""
    x = _calibrated(net.output, calibration)
    x = keras.layers.Activation(SOFTMAX, name=SOFTMAX)(x)
    return keras.Model(net.input, x)


def _calibrated(logits: Any, calibration: Calibration) -> Any:
    if not calibration.exponent:
        return keras.layers.Rescaling(1 / calibration.temperature, name=TEMPERATURE)(logits)
    scores = keras.Input(logits.shape[1:])
    share = keras.ops.softmax(scores) * keras.ops.log_softmax(scores) / -math.log(logits.shape[1])
    entropy = keras.ops.maximum(keras.ops.sum(share, axis=1, keepdims=True), LEAST_ENTROPY)
    divided = scores / (calibration.temperature * keras.ops.power(entropy, calibration.exponent))
    # One layer, so that the steps to it are none of the net's own.
    return keras.Model(scores, divided, name=TEMPERATURE)(logits)


def inner_layers(model: keras.Model) -> list[Any]:
    """The net's own layers in order, down to softmax."""
    return [layer for layer in model.layers if not is_preparation(layer.name)]


def feature_model(model: keras.Model) -> keras.Model:
    """uint8 [N,H,W,C] → the output of every inner layer."""
    return keras.Model(model.input, [layer.output for layer in inner_layers(model)])


def write_graphs(model: keras.Model, folder: Path) -> None:
    """Write model.onnx and feature_maps.onnx into `folder`; they read the weights out of the Keras files there."""
    names = [layer.name for layer in inner_layers(model)]
    features = _named_outputs(_convert(feature_model(model)), names)
    served = _with_output(Extractor(features).extract_model([IMAGE_INPUT], [SOFTMAX]), SOFTMAX, PROBABILITIES)
    kept = {
        raw: (file.name, array) for file in folder.glob("*.keras") for raw, array in kept_in(file).items()
    }
    for graph, file in ((served, MODEL), (features, FEATURE_MAPS)):
        lean(graph)
        _read_from(kept, graph)
        onnx.save(graph, folder / file)
        onnx.checker.check_model(folder / file)


def _convert(model: keras.Model) -> onnx.ModelProto:
    model(np.zeros((1, *model.input.shape[1:]), np.uint8))  # the exporter wants a model that was called once
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Keras's exporter looks whether NumPy still has the name.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        path = Path(folder) / MODEL
        with naming(path):
            model.export(path, format="onnx", verbose=False)
        return onnx.load(path)


def _named_outputs(graph: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    for old, new in zip([output.name for output in graph.graph.output], names, strict=True):
        _with_output(graph, old, new)
    return graph


def _with_output(graph: onnx.ModelProto, old: str, new: str) -> onnx.ModelProto:
    """Rename an output wherever the graph speaks of it."""
    for node in graph.graph.node:
        node.output[:] = [new if name == old else name for name in node.output]
        node.input[:] = [new if name == old else name for name in node.input]
    for output in graph.graph.output:
        if output.name == old:
            output.name = new
    return graph


def _read_from(kept: Mapping[bytes, tuple[str, Kept]], graph: onnx.ModelProto) -> None:
    """Make the tensors that are in other files ONNX external data there, widened and turned by the graph: engines do
    so once, when they open it."""
    nodes: list[NodeProto] = []
    for tensor in graph.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and (raw := numpy_helper.to_array(tensor).tobytes()) in kept:
            file, array = kept[raw]
            steps = _steps(array)
            names = [f"{tensor.name}_{number}" for number, _ in enumerate(steps)] + [tensor.name]
            for (operator, attributes), before, after in zip(steps, names, names[1:], strict=False):
                nodes.append(helper.make_node(operator, [before], [after], **attributes))
            _point(tensor, names[0], file, array)
    rest = list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend([*nodes, *rest])


def _steps(array: Kept) -> list[tuple[str, dict[str, Any]]]:
    """The operators, in order, that make of what is kept what the graph computes with."""
    steps: list[tuple[str, dict[str, Any]]] = []
    if array.half:
        steps.append(("Cast", {"to": TensorProto.FLOAT}))
    if len(array.shape) == len(OUTPUT_FIRST):
        steps.append(("Transpose", {"perm": OUTPUT_FIRST}))
    return steps


def _point(tensor: TensorProto, name: str, file: str, array: Kept) -> None:
    kind = TensorProto.FLOAT16 if array.half else TensorProto.FLOAT
    tensor.Clear()
    tensor.name, tensor.data_type = name, kind
    tensor.dims.extend(array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    length = math.prod(array.shape) * (2 if array.half else 4)
    for key, value in (("location", file), ("offset", array.offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
