from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training import preprocess
from training.datasets import CIFAR10, DataError, Dataset, read_originals


def test_array_file_holds_the_originals_and_is_read_again(small_cifar10: tuple[Dataset, Path]) -> None:
    dataset, folder = small_cifar10
    path = preprocess.preprocess(dataset, folder)
    arrays, originals = preprocess.read(dataset, path), read_originals(dataset, [folder])
    for part in preprocess.PARTS:
        assert np.array_equal(getattr(arrays, part), getattr(originals, part))
    assert [entry.name for entry in path.parent.iterdir()] == [f"{CIFAR10.name}.npz"]


def test_load_makes_the_array_file_once(small_cifar10: tuple[Dataset, Path]) -> None:
    dataset, folder = small_cifar10
    preprocess.load(dataset, folder)
    (folder / dataset.sources[0].file).unlink()
    assert len(preprocess.load(dataset, folder).test_labels) == 10


def test_an_array_file_of_another_shape_than_the_data_sets_is_refused(
    small_cifar10: tuple[Dataset, Path],
) -> None:
    dataset, folder = small_cifar10
    path = preprocess.preprocess(dataset, folder)
    with pytest.raises(DataError, match="cifar10 train images are uint8"):
        preprocess.read(replace(dataset, train_images=51), path)


@pytest.mark.parametrize(("named", "folder"), [(None, "data"), ("", "data"), ("elsewhere", "elsewhere")])
def test_an_empty_variable_counts_as_not_set(
    monkeypatch: pytest.MonkeyPatch, named: str | None, folder: str
) -> None:
    monkeypatch.delenv("CONVSCOPE_DATA", raising=False)
    if named is not None:
        monkeypatch.setenv("CONVSCOPE_DATA", named)
    assert preprocess.writable_folder() == Path(folder)


@pytest.mark.parametrize("damage", ["truncated", "changed", "emptied"])
def test_damaged_array_file_is_never_read(small_cifar10: tuple[Dataset, Path], damage: str) -> None:
    dataset, folder = small_cifar10
    path = preprocess.preprocess(dataset, folder)
    if damage == "changed":
        arrays = dict(np.load(path))
        arrays["train_images"][3, 4, 5, 0] ^= 1
        np.savez(path, **arrays)
    else:
        path.write_bytes(path.read_bytes()[: 1000 if damage == "truncated" else 0])
    with pytest.raises(DataError, match="delete it, and it is made anew"):
        preprocess.read(dataset, path)
