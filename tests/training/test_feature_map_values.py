"""feature_maps.onnx of every shipped model gives what its Keras model gives, layer by layer."""

import pytest

from tests.service.shipped import MODELS, latest, manifest, run, test_set

pytest.importorskip("tensorflow", reason="TensorFlow, which model.keras needs, is in the training extra")

import keras
import numpy as np

import training.architectures  # noqa: F401 — registers the layers that the nets define
from training.graphs import feature_model, inner_layers

IMAGES = 8
CLOSE = 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_every_layers_values_are_kerass_own(name: str) -> None:
    about, folder = manifest(name), latest(name)
    images, _ = test_set(about["dataset"])
    if about.get("members"):
        pytest.skip("its towers' files are compared by tests/training/test_towers.py and test_engines.py")
    model = keras.models.load_model(folder / "model.keras", compile=False)
    expected = [
        keras.ops.convert_to_numpy(values) for values in feature_model(model)(images[:IMAGES], training=False)
    ]
    found = run(folder / "feature_maps.onnx", images[:IMAGES])
    names = [layer.name for layer in inner_layers(model)]
    assert list(found) == names == [layer["name"] for layer in about["layers"]]
    for layer, values in zip(names, expected, strict=True):
        assert np.abs(found[layer] - values).max() <= CLOSE, layer
