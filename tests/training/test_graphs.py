from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from service.manifest import MODEL, WEIGHTS
from training.calibration import Calibration
from training.experiments import EXPERIMENTS
from training.fit import build
from training.graphs import inner_layers, serving_model, write_graphs
from training.halves import rounded
from training.parity import run_graph

pytestmark = pytest.mark.filterwarnings(
    "ignore:In the future `np.object`:FutureWarning",  # Keras's exporter probes NumPy for an old name
)


@pytest.mark.parametrize(("precision", "bytes_each"), [("float32", 4), ("mixed_bfloat16", 2)])
def test_kernels_that_bfloat16_holds_take_two_bytes_a_number(
    precision: str, bytes_each: int, tmp_path: Path
) -> None:
    net = build(EXPERIMENTS["mnist-8-filters"])
    net.set_weights(rounded(net.get_weights(), precision))
    write_graphs(serving_model(net, Calibration(1.0)), tmp_path)
    kernel = max((weight for weight in net.get_weights()), key=np.size)
    [stored] = [
        tensor
        for tensor in onnx.load(tmp_path / MODEL, load_external_data=False).graph.initializer
        if sorted(tensor.dims) == sorted(kernel.shape)
    ]
    assert {entry.key: entry.value for entry in stored.external_data}["length"] == str(
        bytes_each * kernel.size
    )
    assert (tmp_path / WEIGHTS).stat().st_size >= bytes_each * kernel.size
    images = np.random.default_rng(1).integers(0, 256, (4, 28, 28, 1), np.uint8)
    expected = Calibration(1.0).probabilities(keras.ops.convert_to_numpy(net(images, training=False)))
    assert np.abs(run_graph(tmp_path / MODEL, images) - expected).max() < 1e-5


def test_a_calibration_by_entropy_is_in_the_graph_and_no_layer_of_the_net(tmp_path: Path) -> None:
    net = build(EXPERIMENTS["mnist-8-filters"])
    by_entropy = Calibration(1.3, 0.4)
    model = serving_model(net, by_entropy)
    write_graphs(model, tmp_path)
    images = np.random.default_rng(1).integers(0, 256, (4, 28, 28, 1), np.uint8)
    expected = by_entropy.probabilities(keras.ops.convert_to_numpy(net(images, training=False)))
    assert np.abs(run_graph(tmp_path / MODEL, images) - expected).max() < 1e-5
    assert [layer.name for layer in inner_layers(model)] == [
        *(layer.name for layer in inner_layers(net)),
        "softmax",
    ]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(
        tmp_path / "model.keras", compile=False
    )  # without a class of this project
    assert keras.ops.convert_to_numpy(loaded(images)) == pytest.approx(expected, abs=1e-5)
