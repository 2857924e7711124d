from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from service.manifest import FEATURE_MAPS, KERAS_MODEL, MODEL
from training.calibration import Calibration
from training.experiments import EXPERIMENTS
from training.fit import build
from training.graphs import inner_layers, serving_model, write_graphs
from training.halves import pack, rounded
from training.parity import run_graph


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_graphs_read_the_weights_out_of_the_keras_file_two_bytes_a_number(
    precision: str, tmp_path: Path
) -> None:
    net = build(EXPERIMENTS["mnist-8-filters"])
    net.set_weights(rounded(net.get_weights(), precision))
    model = serving_model(net, Calibration(1.0))
    model.save(tmp_path / KERAS_MODEL)
    pack(tmp_path / KERAS_MODEL)
    write_graphs(model, tmp_path)
    kernel = max((weight for weight in net.get_weights()), key=np.size)
    for graph in (MODEL, FEATURE_MAPS):
        stored = [
            {entry.key: entry.value for entry in tensor.external_data}
            for tensor in onnx.load(tmp_path / graph, load_external_data=False).graph.initializer
            if sorted(tensor.dims) == sorted(kernel.shape)
        ]
        assert [(at["location"], at["length"]) for at in stored] == [(KERAS_MODEL, str(2 * kernel.size))]
        assert (tmp_path / graph).stat().st_size < kernel.size
    images = np.random.default_rng(1).integers(0, 256, (4, 28, 28, 1), np.uint8)
    expected = Calibration(1.0).probabilities(keras.ops.convert_to_numpy(net(images, training=False)))
    assert np.abs(run_graph(tmp_path / MODEL, images) - expected).max() < 1e-5


def test_kernels_that_half_precision_cannot_hold_are_kept_whole(tmp_path: Path) -> None:
    net = build(EXPERIMENTS["mnist-8-filters"])
    weights = [weight + 1e5 if weight.ndim == 4 else weight for weight in net.get_weights()]
    net.set_weights(rounded(weights))
    model = serving_model(net, Calibration(1.0))
    model.save(tmp_path / KERAS_MODEL)
    pack(tmp_path / KERAS_MODEL)
    write_graphs(model, tmp_path)
    [kernel] = [weight for weight in weights if weight.shape == (3, 3, 8, 8)]
    [stored] = [
        {entry.key: entry.value for entry in tensor.external_data}
        for tensor in onnx.load(tmp_path / MODEL, load_external_data=False).graph.initializer
        if tuple(tensor.dims) == kernel.shape
    ]
    assert stored["length"] == str(kernel.nbytes)
    offset = int(stored["offset"])
    assert (tmp_path / KERAS_MODEL).read_bytes()[offset : offset + kernel.nbytes] == kernel.tobytes()


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
