"""feature_maps.onnx of every shipped model gives what its Keras model gives, layer by layer."""

from pathlib import Path
from typing import Any

import pytest

from service.manifest import KERAS_MODEL, tower_keras
from tests.service.shipped import MODELS, latest, manifest, run, test_set

pytest.importorskip("tensorflow", reason="TensorFlow, which model.keras needs, is in the training extra")

import keras
import numpy as np

import training.architectures  # noqa: F401 — registers the layers that the nets define
from training import towers
from training.calibration import Calibration
from training.graphs import feature_model, inner_layers, serving_model

IMAGES = 8
CLOSE = 1e-4


def loaded(file: Path) -> keras.Model:
    return keras.models.load_model(file, compile=False)


def of_towers(folder: Path, about: dict[str, Any], scratch: Path) -> keras.Model:
    """Made again of the Keras files that a net of towers has, and of the calibration that its manifest tells."""
    members = []
    for number in range(1, 1 + len(about["members"])):
        members.append(scratch / str(number))
        members[-1].mkdir()
        (members[-1] / KERAS_MODEL).symlink_to(folder / tower_keras(number))
    metrics = about["metrics"]
    fitted = Calibration(metrics["temperature"], metrics["temperature_exponent"])
    return serving_model(towers.net(members), fitted)


@pytest.mark.parametrize("name", MODELS)
def test_every_layers_values_are_kerass_own(name: str, tmp_path: Path) -> None:
    about, folder = manifest(name), latest(name)
    images, _ = test_set(about["dataset"])
    model = of_towers(folder, about, tmp_path) if about.get("members") else loaded(folder / KERAS_MODEL)
    expected = [
        keras.ops.convert_to_numpy(values) for values in feature_model(model)(images[:IMAGES], training=False)
    ]
    found = run(folder / "feature_maps.onnx", images[:IMAGES])
    names = [layer.name for layer in inner_layers(model)]
    assert list(found) == names == [layer["name"] for layer in about["layers"]]
    for layer, values in zip(names, expected, strict=True):
        assert np.abs(found[layer] - values).max() <= CLOSE, layer
