import gzip
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import cifar_pickle, idx
from training import datasets
from training.datasets import CIFAR10, MNIST, Arrays, DataError, Dataset


def test_idx_gives_the_array_its_header_describes() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(datasets.parse_idx(idx(array)), array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no IDX file"),
        (b"\x1f\x8b\x08\0 not unpacked", "is no IDX file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "is no IDX file"),  # 0x0d: floats
        (b"\0\0\x08\x03\0\0\0\x01", "ends inside its header"),
        (idx(np.zeros((2, 28, 28)))[:-1], "is 1,583 bytes long; its header [2, 28, 28] asks for 1,584"),
        (idx(np.zeros((2, 28, 28))) + b"x", "is 1,585 bytes long"),
    ],
)
def test_broken_idx_is_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        datasets.parse_idx(data)


def test_cifar_batch_becomes_upright_colour_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    read, labels = datasets.parse_cifar_batch(cifar_pickle(images, np.array([3, 0, 9])))
    assert np.array_equal(read, images)
    assert labels.tolist() == [3, 0, 9]


class _RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("the pickle ran code",))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_that_tries_to_run_code_is_refused_and_runs_nothing(
    protocol: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="asks for"):
        datasets.parse_cifar_batch(pickle.dumps({b"data": _RunsCode()}, protocol=protocol))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "batch",
    [
        b"",
        b"no pickle at all",
        cifar_pickle(np.zeros((2, 32, 32, 3), np.uint8), np.array([0, 1]))[:-40],
        pickle.dumps([1, 2, 3], protocol=2),
        pickle.dumps({b"data": np.zeros((2, 3072)), b"labels": [0, 1]}, protocol=2),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}, protocol=2),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10]}, protocol=2),
    ],
)
def test_broken_batch_is_refused(batch: bytes) -> None:
    with pytest.raises(DataError):
        datasets.parse_cifar_batch(batch, "data_batch_1")


def test_small_files_in_the_originals_formats_are_read(
    small_mnist: tuple[Dataset, Path], small_cifar10: tuple[Dataset, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "MNIST", small_mnist[0])
    digits = datasets.read_originals(small_mnist[0], [small_mnist[1]])
    assert digits.train_images.shape == (60, 28, 28, 1)
    pictures = datasets.read_originals(small_cifar10[0], [small_cifar10[1]])
    assert pictures.train_images.shape == (50, 32, 32, 3)
    assert pictures.test_labels.tolist() == list(range(10))


def test_missing_file_is_named_with_the_folders_and_the_command(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"mnist/train-images-idx3-ubyte\.gz is in none of .*run `python -m training fetch --data .*`",
    ):
        datasets.read_originals(MNIST, [tmp_path])


def test_file_with_other_contents_is_named_with_both_checksums(small_mnist: tuple[Dataset, Path]) -> None:
    dataset, folder = small_mnist
    path = folder / dataset.sources[1].file
    path.write_bytes(gzip.compress(idx(np.zeros(60))))
    with pytest.raises(
        DataError, match=r"train-labels-idx1-ubyte in .* is not the published one: its MD5 is \w{32}, not"
    ):
        datasets.read_originals(dataset, [folder])


@pytest.mark.parametrize("kept", [0, 3, 400])
def test_truncated_file_is_damaged_and_named(small_cifar10: tuple[Dataset, Path], kept: int) -> None:
    dataset, folder = small_cifar10
    path = folder / dataset.sources[0].file
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz"):
        datasets.read_originals(dataset, [folder])


def test_originals_of_another_number_of_images_are_refused(small_cifar10: tuple[Dataset, Path]) -> None:
    dataset, folder = small_cifar10
    with pytest.raises(DataError, match="cifar10 test images are uint8"):
        datasets.read_originals(replace(dataset, test_images=11), [folder])


def test_unpacked_file_is_found_as_well(
    small_mnist: tuple[Dataset, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, folder = small_mnist
    monkeypatch.setattr(datasets, "MNIST", dataset)
    packed = folder / dataset.sources[0].file
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert len(datasets.read_originals(dataset, [folder]).train_images) == 60


def test_unpacked_archive_is_found_as_well(small_cifar10: tuple[Dataset, Path]) -> None:
    dataset, folder = small_cifar10
    packed = folder / dataset.sources[0].file
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert len(datasets.read_originals(dataset, [folder]).train_images) == 50


def test_labels_out_of_range_are_refused() -> None:
    images = np.zeros((10_000, 32, 32, 3), np.uint8)
    labels = np.zeros(10_000, np.uint8)
    arrays = Arrays(np.zeros((50_000, 32, 32, 3), np.uint8), np.resize(np.arange(10), 50_000), images, labels)
    with pytest.raises(DataError, match="cifar10 test labels are not"):
        datasets.check(CIFAR10, arrays)


def test_one_hot_has_a_single_one_at_the_label() -> None:
    rows = datasets.one_hot(np.array([2, 0], np.uint8), 3)
    assert rows.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert rows.dtype == np.float32


def test_validation_is_the_last_5000_training_images() -> None:
    numbers = np.arange(5_200)
    pixels, digits = (numbers // 256)[:, None, None, None].astype(np.uint8), (numbers % 10).astype(np.uint8)
    arrays = Arrays(pixels, digits, pixels, digits)
    images, labels, validation_images, validation_labels = datasets.training_split(arrays)
    assert (len(images), len(labels), len(validation_images)) == (200, 200, 5_000)
    assert np.array_equal(validation_images, arrays.train_images[200:])
    assert np.array_equal(validation_labels, arrays.train_labels[200:])
    assert len(datasets.training_split(arrays, 0)[2]) == 0


def test_real_files_hold_what_was_published(real_arrays: tuple[Dataset, Arrays]) -> None:
    dataset, arrays = real_arrays
    first = {"mnist": [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], "cifar10": [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]}
    assert arrays.train_labels[:10].tolist() == first[dataset.name]
    mean = {"mnist": 33.318, "cifar10": 120.708}
    assert arrays.train_images.mean() == pytest.approx(mean[dataset.name], abs=0.001)
    datasets.check(replace(dataset), arrays)
