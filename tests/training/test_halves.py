import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow

from training.halves import kept_in, pack, rounded


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
    expected[:-1] = expected[:-1].astype(np.float16)  # which ends below at 6e-8
    assert short.dtype == np.float32
    assert np.array_equal(short, expected)
    assert same is bias


def test_a_packed_model_takes_two_bytes_a_number_and_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    net = [keras.Input((200,)), keras.layers.Dense(300), keras.layers.BatchNormalization()]
    model = keras.Sequential(net)
    model.set_weights(rounded(model.get_weights()))
    model.save(path)
    pack(path)
    first = path.read_bytes()
    pack(path)
    assert path.read_bytes() == first
    assert path.stat().st_size < 2 * model.count_params() + 20_000
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    for one, other in zip(keras.models.load_model(path).get_weights(), model.get_weights(), strict=True):
        assert (one == other).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]


def test_what_is_kept_is_found_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    net = [keras.Input((8, 8, 16)), keras.layers.Conv2D(32, 3), keras.layers.Dense(500)]
    model = keras.Sequential(net)
    convolution, _, dense, bias = model.get_weights()
    dense[0, 0] = 0.5  # one number that half precision holds is not all
    [convolution] = rounded([convolution])
    model.set_weights([convolution, np.zeros(32), dense, bias])
    model.save(path)
    pack(path)
    kept, content = kept_in(path), path.read_bytes()
    assert set(kept) == {convolution.transpose(3, 2, 0, 1).tobytes(), dense.tobytes(), bias.tobytes()}
    half = kept[convolution.transpose(3, 2, 0, 1).tobytes()]
    assert half.half
    assert half.shape == (3, 3, 16, 32)
    assert half.offset % 64 == 0
    found = np.frombuffer(content, np.float16, convolution.size, half.offset)
    assert (found == convolution.ravel()).all()
    whole = kept[dense.tobytes()]
    assert not whole.half
    assert (np.frombuffer(content, np.float32, dense.size, whole.offset) == dense.ravel()).all()


def test_nothing_is_found_in_a_file_whose_members_are_deflated(tmp_path: Path) -> None:
    path, deflated = tmp_path / "model.keras", tmp_path / "deflated.keras"
    keras.Sequential([keras.Input((200,)), keras.layers.Dense(300)]).save(path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.namelist():
            target.writestr(member, source.read(member))
    assert kept_in(deflated) == {}
    pack(deflated)
    assert kept_in(deflated)
