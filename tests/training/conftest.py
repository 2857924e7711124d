"""Small files in the originals' exact formats, and the real ones where they are found."""

import gzip
import hashlib
import io
import pickle
import signal
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training import stops
from training.datasets import CIFAR10, DATASETS, MNIST, Arrays, Dataset, Source, data_folders, find
from training.preprocess import load


def idx(array: np.ndarray) -> bytes:
    """An array of unsigned bytes as the MNIST files have it."""
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return b"\0\0\x08" + bytes([array.ndim]) + shape + array.astype(np.uint8).tobytes()


def cifar_pickle(images: np.ndarray, labels: np.ndarray, name: str = "batch") -> bytes:
    """Images [N,32,32,3] and labels [N] as a CIFAR-10 batch has them: protocol 2, planes, keys of bytes."""
    batch = {
        b"batch_label": name.encode(),
        b"labels": [int(label) for label in labels],
        b"data": images.transpose(0, 3, 1, 2).reshape(len(images), 3072),
        b"filenames": [b"x.png"] * len(labels),
    }
    return pickle.dumps(batch, protocol=2)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _random(count: int, shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.resize(np.arange(10), count).astype(np.uint8)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8), labels


def write_small_mnist(folder: Path) -> Dataset:
    """60 training and 20 test images in four packed IDX files, and the Dataset that describes them."""
    train, train_labels = _random(60, (28, 28, 1), 1)
    test, test_labels = _random(20, (28, 28, 1), 2)
    files = (idx(train[..., 0]), idx(train_labels), idx(test[..., 0]), idx(test_labels))
    sources = []
    for source, data in zip(MNIST.sources, files, strict=True):
        (folder / source.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / source.file).write_bytes(gzip.compress(data))
        sources.append(Source(source.file, source.urls, {next(iter(source.md5)): md5(data)}))
    return replace(MNIST, train_images=60, test_images=20, sources=tuple(sources))


def write_small_cifar10(folder: Path) -> Dataset:
    """Five batches of 10 training images and one of 10 test images in one archive, and their Dataset."""
    members = {f"data_batch_{k}": cifar_pickle(*_random(10, (32, 32, 3), k)) for k in range(1, 6)}
    members["test_batch"] = cifar_pickle(*_random(10, (32, 32, 3), 6))
    members["batches.meta"] = pickle.dumps({b"label_names": []}, protocol=2)
    folder.mkdir(parents=True, exist_ok=True)
    source = CIFAR10.sources[0]
    with tarfile.open(folder / source.file, "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    checks = {name: md5(data) for name, data in members.items()}
    small = replace(source, md5=checks)
    return replace(CIFAR10, train_images=50, test_images=10, sources=(small,))


def drop(number: signal.Signals = signal.SIGINT) -> None:
    """A signal where Python drops what it raises."""

    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(number)

    Dying()


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Signals are heard as in a command, and none was yet; afterwards all is as before."""
    monkeypatch.setattr(stops, "_heard", [])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stops.listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def small_mnist(tmp_path: Path) -> tuple[Dataset, Path]:
    return write_small_mnist(tmp_path), tmp_path


@pytest.fixture
def small_cifar10(tmp_path: Path) -> tuple[Dataset, Path]:
    return write_small_cifar10(tmp_path), tmp_path


@contextmanager
def encodings_named() -> Iterator[None]:
    """Text that a path is opened as has an encoding that is named: that of the locale may have no letter for it."""

    def named(encoding: str | None, stacklevel: int = 2) -> str:
        if encoding is None:
            raise EncodingWarning("text of whatever encoding the locale has")
        return encoding

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "text_encoding", named)
        yield


@pytest.fixture(scope="session", params=sorted(DATASETS))
def real_arrays(request: pytest.FixtureRequest) -> tuple[Dataset, Arrays]:
    """A whole data set, read from the original files where they are found."""
    dataset = DATASETS[request.param]
    if any(find(source, data_folders()) is None for source in dataset.sources):
        pytest.skip(f"the original {dataset.name} files are not here: `python -m training fetch` brings them")
    return dataset, load(dataset)


@pytest.fixture(scope="session")
def few_arrays() -> dict[str, Arrays]:
    """A handful of random images of each data set's shape: for experiments that hold out fewer than is usual.
    Read only, since all tests have the same."""
    made = {}
    for name, dataset in DATASETS.items():
        train, train_labels = _random(300, dataset.shape, 3)
        test, test_labels = _random(100, dataset.shape, 4)
        for array in (train, train_labels, test, test_labels):
            array.setflags(write=False)
        made[name] = Arrays(train, train_labels, test, test_labels)
    return made
