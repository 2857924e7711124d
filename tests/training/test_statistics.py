"""What is kept of a net's weights and activations, against sums done by hand."""

import keras
import numpy as np
import pytest

from training.naming import SCALING
from training.statistics import describe, layer_table, weight_statistics


@pytest.fixture
def tiny() -> keras.Model:
    """Over images of one pixel, x: (3 − x, x − 1), a norm that changes nothing yet, and the same flat."""
    image = keras.Input((1, 1, 1), dtype="uint8", name="image")
    scaled = keras.layers.Rescaling(1.0, name=SCALING)(image)
    points = keras.layers.Conv2D(2, 1, name="conv2d")(scaled)
    norm = keras.layers.BatchNormalization(epsilon=0.0, name="batch_norm")(points)
    model = keras.Model(image, keras.layers.Flatten(name="flatten")(norm))
    model.get_layer("conv2d").set_weights([np.array([[[[-1.0, 1.0]]]]), np.array([3.0, -1.0])])
    return model


def test_layers_are_listed_with_the_range_over_every_image(tiny: keras.Model) -> None:
    images = np.array([2, 0, 9], np.uint8).reshape(3, 1, 1, 1)
    layers = layer_table(tiny, images)
    assert [(one.name, one.type, one.shape, one.parameters, one.trainable) for one in layers] == [
        ("conv2d", "Conv2D", [1, 1, 2], 4, 4),
        ("batch_norm", "BatchNormalization", [1, 1, 2], 8, 4),
        ("flatten", "Flatten", [2], 0, 0),
    ]
    assert [(one.minimum, one.maximum) for one in layers] == [(-6.0, 8.0)] * 3  # both of the last image


def test_weights_are_described_by_layer_in_order(tiny: keras.Model) -> None:
    convolution, norm = weight_statistics(tiny)
    assert (convolution["name"], convolution["type"]) == ("conv2d", "Conv2D")
    assert convolution["weights"] == [
        describe("kernel", np.array([[[[-1.0, 1.0]]]], np.float32)),
        describe("bias", np.array([3.0, -1.0], np.float32)),
    ]
    assert [weight["name"] for weight in norm["weights"]] == [
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    ]


def test_a_weight_is_described_by_its_moments_its_range_and_64_bins() -> None:
    described = describe("kernel", np.array([[-1.0, 0, 0], [1, 3, 9]]))
    histogram = described.pop("histogram")
    assert described == {
        "name": "kernel",
        "shape": [2, 3],
        "count": 6,
        "mean": 2.0,
        "standard_deviation": pytest.approx((68 / 6) ** 0.5),
        "minimum": -1.0,
        "maximum": 9.0,
    }
    assert histogram["edges"] == pytest.approx([-1 + 10 * k / 64 for k in range(65)])
    assert {k: count for k, count in enumerate(histogram["counts"]) if count} == {
        0: 1,
        6: 2,
        12: 1,
        25: 1,
        63: 1,
    }
