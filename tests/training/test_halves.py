import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow

from training.halves import compress, rounded


def test_kernels_are_rounded_to_half_precision_and_little_else() -> None:
    kernel = np.random.default_rng(1).normal(0, 0.1, (3, 3, 8, 8)).astype(np.float32)
    bias = np.array([1e-7, 1 / 3], np.float32)
    huge = np.array([[1e6, 1 / 3]], np.float32)
    short, same, untouched = rounded([kernel, bias, huge])
    assert short.dtype == np.float32
    assert (short == short.astype(np.float16)).all()
    assert np.abs(short / kernel - 1).max() < 2**-9
    assert same is bias
    assert untouched is huge  # half precision ends at 65,504


def test_kernels_of_a_net_trained_in_bfloat16_are_rounded_to_it() -> None:
    random = np.random.default_rng(1)
    kernel = np.concatenate(
        [random.normal(0, 0.1, (64, 8)), [[1e30, -1e-30, 0, 1, 1.00390625, 1.01171875, -2, 3]]]
    )
    bias = np.array([1e-7, 1 / 3], np.float32)
    short, same = rounded([kernel.astype(np.float32), bias], "mixed_bfloat16")
    expected = tensorflow.cast(tensorflow.cast(kernel.astype(np.float32), "bfloat16"), "float32").numpy()
    assert short.dtype == np.float32
    assert np.array_equal(short, expected)
    assert same is bias


def test_a_compressed_model_is_smaller_and_the_same(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    model = keras.Sequential([keras.Input((200,)), keras.layers.Dense(300)])
    model.set_weights(rounded(model.get_weights()))
    model.save(path)
    before = path.stat().st_size
    compress(path)
    first = path.read_bytes()
    compress(path)
    assert path.read_bytes() == first
    assert path.stat().st_size < 0.55 * before
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    for one, other in zip(keras.models.load_model(path).get_weights(), model.get_weights(), strict=True):
        assert (one == other).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]
