"""What is read off a trained net once and kept in its artifact: layers, activation ranges, weight histograms."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from service.manifest import Layer
from training.graphs import feature_model, inner_layers
from training.predict import predict_all

HISTOGRAM_BINS = 64


def layer_table(model: keras.Model, images: NDArray[np.uint8]) -> list[Layer]:
    """Every inner layer in order, with the range of its activations over `images` uint8 [N,H,W,C]."""
    activations = predict_all(feature_model(model), images)
    return [
        Layer(
            name=layer.name,
            type=type(layer).__name__,
            shape=list(layer.output.shape[1:]),
            parameters=layer.count_params(),
            trainable=_count(layer.trainable_weights),
            minimum=float(values.min()),
            maximum=float(values.max()),
        )
        for layer, values in zip(inner_layers(model), activations, strict=True)
    ]


def _count(variables: list[Any]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


def weight_statistics(model: keras.Model) -> list[dict[str, Any]]:
    """For every layer that has any: each weight's shape, mean, standard deviation, range and histogram."""
    return [
        {
            "name": layer.name,
            "type": type(layer).__name__,
            "weights": [describe(w.name, w.numpy()) for w in layer.weights],
        }
        for layer in inner_layers(model)
        if layer.weights
    ]


def describe(name: str, values: NDArray[np.floating]) -> dict[str, Any]:
    """One weight as weights.json has it; the histogram's edges are one more than its counts."""
    counts, edges = np.histogram(values, bins=HISTOGRAM_BINS)
    return {
        "name": name,
        "shape": list(values.shape),
        "count": int(values.size),
        "mean": float(values.mean()),
        "standard_deviation": float(values.std()),
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }
