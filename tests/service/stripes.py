"""Small artifacts for the tests: real files of the contract, made at once, with a net a person can check."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from service.manifest import IMAGE_INPUT, MANIFEST, MODEL, PROBABILITIES, file_entry

CLASSES = {"mnist": [str(digit) for digit in range(10)], "cifar10": [f"class-{index}" for index in range(10)]}
SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}


def stripes_graph(dataset: str, *, classes: int = 10, last: str = "Softmax") -> onnx.ModelProto:
    """softmax(pixels / 255 · W): the smallest classifier of this input. W's column c favours stripe c of the image."""
    height, width, channels = SHAPES[dataset]
    size = height * width * channels
    weights = np.zeros((size, classes), np.float32)
    for index, stripe in enumerate(np.array_split(np.arange(size), classes)):
        weights[stripe, index] = 20 / len(stripe)
    nodes = [
        helper.make_node("Cast", [IMAGE_INPUT], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "white"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node(last, ["logits"], [PROBABILITIES]),
    ]
    graph = helper.make_graph(
        nodes,
        "stripes",
        [helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.UINT8, ["N", height, width, channels])],
        [helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["N", classes])],
        [
            numpy_helper.from_array(np.array(255, np.float32), "white"),
            numpy_helper.from_array(weights, "weights"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def manifest_of(name: str, version: str, dataset: str, files: dict[str, Any]) -> dict[str, Any]:
    """A manifest that follows the schema; its figures are of no real training."""
    height, width, channels = SHAPES[dataset]
    classes = CLASSES[dataset]
    parameters = height * width * channels * len(classes)
    return {
        "schema_version": 1,
        "name": name,
        "version": version,
        "dataset": dataset,
        "description": "stripes",
        "created": "2026-01-01T00:00:00Z",
        "classes": classes,
        "input": {"height": height, "width": width, "channels": channels},
        "files": files,
        "layers": [
            {"name": "dense", "type": "Dense", "shape": [10], "parameters": parameters, "trainable": parameters,
             "minimum": 0.0, "maximum": 1.0}
        ],
        "parameters": parameters,
        "trainable_parameters": parameters,
        "metrics": {
            "accuracy": 0.5, "accuracy_interval": [0.4, 0.6], "errors": 50, "images": 100, "nll": 1.0,
            "nll_before_temperature": 1.0, "ece": 0.1, "ece_before_temperature": 0.1, "temperature": 1.0,
            "validation_accuracy": None, "per_class": [], "confusion": [[0] * 10] * 10,
        },
        "parity": {"largest_difference": 0.0, "labels_changed": 0, "labels_changed_clear": 0},
        "experiment": {"name": name},
        "provenance": {
            "command": "none", "seed": 0, "seconds": 0, "hardware": "none", "commit": None, "libraries": {}, "data": {},
        },
    }  # fmt: skip


def write_model(
    artifacts: Path, name: str, version: str = "1", dataset: str = "mnist", graph: bytes | None = None
) -> Path:
    """A version folder; returns it."""
    folder = artifacts / "models" / name / version
    folder.mkdir(parents=True)
    (folder / MODEL).write_bytes(graph or stripes_graph(dataset).SerializeToString())
    manifest = manifest_of(name, version, dataset, {MODEL: file_entry(folder / MODEL).model_dump()})
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def write_aliases(artifacts: Path, aliases: dict[str, str]) -> None:
    (artifacts / "aliases.json").write_text(json.dumps(aliases))


def stripe(digit: int, dataset: str = "mnist") -> NDArray[np.uint8]:
    """uint8 [H,W,C]: the image that `stripes_graph` calls `digit`."""
    height, width, channels = SHAPES[dataset]
    image = np.zeros(height * width * channels, np.uint8)
    image[np.array_split(np.arange(image.size), 10)[digit]] = 255
    return image.reshape(height, width, channels)


def encoded(image: NDArray[np.uint8], kind: str = "PNG", **options: Any) -> bytes:
    """An image file. [H,W,1] becomes greyscale."""
    file = BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, kind, **options)
    return file.getvalue()
