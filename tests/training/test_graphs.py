from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from service.manifest import MODEL, WEIGHTS
from training.experiments import EXPERIMENTS
from training.fit import build
from training.graphs import serving_model, softmax, write_graphs
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
    write_graphs(serving_model(net, 1.0), tmp_path)
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
    expected = softmax(keras.ops.convert_to_numpy(net(images, training=False)))
    assert np.abs(run_graph(tmp_path / MODEL, images) - expected).max() < 1e-5
