"""A graph in fewer operators gives the same answers, and one that only looks like it could be is left alone."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.manifest import FEATURE_MAPS, IMAGE_INPUT, KERAS_MODEL, MODEL
from tests.service.shipped import latest
from training.calibration import Calibration
from training.experiments import EXPERIMENTS
from training.fit import build
from training.graphs import serving_model, write_graphs
from training.lean import lean

OUTPUT = "y"
SHAPE_OPERATORS = {"Shape", "Gather", "Slice", "Concat"}


def scaled(scale: float, offset: float) -> onnx.ModelProto:
    """As Keras's Rescaling is exported, with the shape of a flattened image as its exporter makes it."""
    floats = {"scale": np.float32(scale), "offset": np.float32(offset)}
    whole = {"zero": [0], "one": [1], "width": [12]}
    nodes = [
        helper.make_node("Cast", [IMAGE_INPUT], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["times"]),
        helper.make_node("Add", ["times", "offset"], ["plus"]),
        helper.make_node("Shape", ["plus"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["batch"]),
        helper.make_node("Concat", ["batch", "width"], ["both"], axis=0),
        helper.make_node("Cast", ["both"], ["flat"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["plus", "flat"], [OUTPUT]),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in floats.items()]
    constants += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in whole.items()]
    image = helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.UINT8, ["n", 4, 3, 1])
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", 12])
    graph = helper.make_graph(nodes, "scaled", [image], [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def run(model: onnx.ModelProto, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    [answer] = session.run([OUTPUT], {IMAGE_INPUT: images})
    return np.asarray(answer)


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(0.0, ["DequantizeLinear", "Reshape"]), (0.5, ["Cast", "Mul", "Add", "Reshape"])],
)
def test_answers_are_the_same_to_the_last_bit(offset: float, expected: list[str]) -> None:
    images = np.random.default_rng(1).integers(0, 256, (5, 4, 3, 1), np.uint8)
    model = scaled(1 / 255, offset)
    before = run(model, images)
    lean(model)
    onnx.checker.check_model(model)
    assert operators(model) == expected
    assert run(model, images).tobytes() == before.tobytes()
    assert {tensor.name for tensor in model.graph.initializer}.isdisjoint({"zero", "one", "width"})


@pytest.mark.parametrize("later", [{"zero", "one"}, {"zero"}, {"one"}])
def test_a_shape_that_is_not_the_batchs_is_left_alone(later: set[str]) -> None:
    model = scaled(1 / 255, 0)
    for tensor in model.graph.initializer:
        if tensor.name in later:  # such as the second dimension instead of the first
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, tensor.name))
    lean(model)
    assert set(operators(model)) > {"Shape", "Slice", "Concat"}


@pytest.mark.parametrize(("order", "kept"), [([0, 3, 1, 2], False), ([3, 0, 1, 2], True)])
def test_dimensions_in_another_order_are_the_batchs_if_it_stays_the_first(
    order: list[int], kept: bool
) -> None:
    model = scaled(1 / 255, 0)
    [cut] = (node for node in model.graph.node if node.op_type == "Slice")
    cut.input[0] = "ordered"
    gather = helper.make_node("Gather", ["shape", "order"], ["ordered"], axis=0)
    model.graph.node.insert(list(model.graph.node).index(cut), gather)
    model.graph.initializer.append(numpy_helper.from_array(np.array(order, np.int64), "order"))
    lean(model)
    assert ("Gather" in operators(model)) is kept


def test_a_shape_of_three_numbers_is_left_alone() -> None:
    model = scaled(1 / 255, 0)
    [concat] = (node for node in model.graph.node if node.op_type == "Concat")
    concat.input.append("one")
    lean(model)
    assert "Concat" in operators(model)


def test_pixels_that_something_else_takes_too_are_left_alone() -> None:
    model = scaled(1 / 255, 0)
    model.graph.node.append(helper.make_node("Cast", [IMAGE_INPUT], ["whole"], to=TensorProto.INT32))
    model.graph.output.append(helper.make_tensor_value_info("whole", TensorProto.INT32, None))
    lean(model)
    assert "Mul" in operators(model)


def test_exported_graphs_are_lean(tmp_path: Path) -> None:
    model = serving_model(build(EXPERIMENTS["mnist-8-filters"]), Calibration(1.0))
    model.save(tmp_path / KERAS_MODEL)
    write_graphs(model, tmp_path)
    for file in (MODEL, FEATURE_MAPS):
        found = operators(onnx.load(tmp_path / file, load_external_data=False))
        assert "DequantizeLinear" in found
        assert SHAPE_OPERATORS.isdisjoint(found)


@pytest.mark.parametrize(
    "name", ["mnist-8-filters", "mnist-baseline", "mnist-compact", "mnist-l2", "mnist-stride-4"]
)
def test_digits_are_scaled_by_one_operator_in_what_is_shipped(name: str) -> None:
    found = operators(onnx.load(latest(name) / MODEL, load_external_data=False))
    assert "DequantizeLinear" in found
    assert SHAPE_OPERATORS.isdisjoint(found)
