"""Keras → ONNX: the served graph and the graph of every layer's output, over one file of weights."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.utils import Extractor

from service.manifest import FEATURE_MAPS, IMAGE_INPUT, MODEL, PROBABILITIES, WEIGHTS
from training.calibration import LEAST_ENTROPY, Calibration
from training.naming import TEMPERATURE, is_preparation

SOFTMAX = "softmax"
_INLINE_BYTES = 1024  # smaller tensors (shapes, scalars) stay in the graph's own file
_ALIGNMENT = 4096  # a page, so that engines may map the file instead of reading it


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


Place = tuple[str, int]  # a file beside the graph, an offset in it


def write_graphs(model: keras.Model, folder: Path, known: Mapping[bytes, Place] | None = None) -> None:
    """Write model.onnx, feature_maps.onnx and the weights they share into `folder`; the tensors that are `known` to
    be in other files there are read from those."""
    names = [layer.name for layer in inner_layers(model)]
    features = _named_outputs(_convert(feature_model(model)), names)
    served = _with_output(Extractor(features).extract_model([IMAGE_INPUT], [SOFTMAX]), SOFTMAX, PROBABILITIES)
    weights = _SharedWeights(known or {})
    for graph in (served, features):
        weights.move_out_of(graph)
    if weights.data:
        (folder / WEIGHTS).write_bytes(weights.data)
    for graph, file in ((served, MODEL), (features, FEATURE_MAPS)):
        onnx.save(graph, folder / file)
        onnx.checker.check_model(folder / file)


def _convert(model: keras.Model) -> onnx.ModelProto:
    model(np.zeros((1, *model.input.shape[1:]), np.uint8))  # the exporter wants a model that was called once
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL
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


class _SharedWeights:
    """One file for the tensors of several graphs; equal tensors are kept once (ONNX external data)."""

    def __init__(self, known: Mapping[bytes, Place]) -> None:
        self.data = bytearray()
        self._places = dict(known)

    def move_out_of(self, graph: onnx.ModelProto) -> None:
        for tensor in graph.graph.initializer:
            raw = numpy_helper.to_array(tensor).tobytes()
            if len(raw) < _INLINE_BYTES:
                continue
            if tensor.data_type == TensorProto.FLOAT and raw not in self._places and _is_bfloat16(raw):
                raw = _upper_halves(raw)
                _widen(graph, tensor)
            self._point(tensor, raw)

    def _point(self, tensor: TensorProto, raw: bytes) -> None:
        if raw not in self._places:
            self.data.extend(bytes(-len(self.data) % _ALIGNMENT))
            self._places[raw] = (WEIGHTS, len(self.data))
            self.data.extend(raw)
        location, offset = self._places[raw]
        dims, kind, name = list(tensor.dims), tensor.data_type, tensor.name
        tensor.Clear()
        tensor.dims.extend(dims)
        tensor.data_type, tensor.name = kind, name
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))


def _is_bfloat16(raw: bytes) -> bool:
    """Whether nothing is lost of these float32 if they are kept in two bytes each."""
    return not (np.frombuffer(raw, np.uint32) & 0xFFFF).any()


def _upper_halves(raw: bytes) -> bytes:
    return (np.frombuffer(raw, np.uint32) >> 16).astype(np.uint16).tobytes()


def _widen(graph: onnx.ModelProto, tensor: TensorProto) -> None:
    """Makes a float32 tensor one of bfloat16, which the graph casts back: engines do so once, when they open it."""
    whole = tensor.name
    tensor.name, tensor.data_type = f"{whole}_bfloat16", TensorProto.BFLOAT16
    graph.graph.node.insert(0, helper.make_node("Cast", [tensor.name], [whole], to=TensorProto.FLOAT))
