"""What a model gives out: probabilities, the label, and every layer's feature map when it is asked for."""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidParameter
from service.manifest import FEATURE_MAPS, PROBABILITIES, Manifest
from service.open_inference.request import Asked, InferRequest
from service.open_inference.response import Output
from service.open_inference.tensors import shown

LABEL = "label"
JSON_BYTES = 20  # of a float32 in JSON, about
BINARY_BYTES = 4

Floats = NDArray[np.float32]


def choose(request: InferRequest, manifest: Manifest, max_bytes: int) -> Sequence[Asked]:
    """The outputs to give: those named, else probabilities and label.

    Raises InvalidParameter for one that is not there, and when all would be more than `max_bytes`.
    """
    if not request.outputs:
        return [Asked(name, request.binary, None) for name in (PROBABILITIES, LABEL)]
    size = 0
    for asked in request.outputs:
        _check_classification(asked, len(manifest.classes))
        values = prod(_layer_shape(manifest, asked.name)) if is_layer(asked) else len(manifest.classes)
        size += len(request.images) * values * (BINARY_BYTES if asked.binary else JSON_BYTES)
    if size > max_bytes:
        raise InvalidParameter(
            f"the outputs asked for would have about {size:,} bytes; the limit is {max_bytes:,}. "
            "Ask for fewer of them, or send fewer images"
            + ("" if all(asked.binary for asked in request.outputs) else ", or take them as binary data")
        )
    return request.outputs


def is_layer(asked: Asked) -> bool:
    """Whether it is one of the outputs that come from the graph of feature maps."""
    return asked.name not in (PROBABILITIES, LABEL)


def make(asked: Asked, answers: Mapping[str, Floats], classes: list[str]) -> Output:
    """`answers`: probabilities [N,classes] and layers [N,…] by name."""
    if asked.name == LABEL:
        best = answers[PROBABILITIES].argmax(axis=1).tolist()
        return Output(LABEL, "BYTES", [len(best)], list(map(classes.__getitem__, best)), asked.binary)
    values = answers[asked.name]
    if asked.classification is None:
        return Output(asked.name, "FP32", values.shape, values, asked.binary)
    return _classified(asked, values, asked.classification, classes)


def _classified(asked: Asked, probabilities: Floats, count: int, classes: list[str]) -> Output:
    """The likeliest classes of each row, best first, as `value:index:label`, [N,count]."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(probabilities, order, axis=1)
    texts = [
        f"{value:.9g}:{index}:{classes[index]}"  # nine digits give the same float32 back
        for value, index in zip(values.ravel().tolist(), order.ravel().tolist(), strict=True)
    ]
    return Output(asked.name, "BYTES", order.shape, texts, asked.binary)


def _layer_shape(manifest: Manifest, name: str) -> list[int]:
    """Without the batch axis. Raises InvalidParameter, which lists every output."""
    layers = {layer.name: layer.shape for layer in manifest.layers if FEATURE_MAPS in manifest.files}
    if name not in layers:
        there = ", ".join((PROBABILITIES, LABEL, *layers))
        raise InvalidParameter(f"{manifest.name} has no output {shown(name)}; there are {there}")
    return layers[name]


def _check_classification(asked: Asked, classes: int) -> None:
    if asked.classification is None:
        return
    if asked.name != PROBABILITIES:
        raise InvalidParameter(f"classification is for the output {PROBABILITIES}, not {shown(asked.name)}")
    if asked.classification > classes:
        raise InvalidParameter(
            f"classification is {shown(asked.classification)}; there are {classes} classes"
        )
