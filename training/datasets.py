"""The original files → checked arrays: find, verify, parse, split.

The published archives have been packed more than once, so it is the *contents* that are verified, by MD5.
MNIST: LeCun, Cortes, Burges (CC BY-SA 3.0). CIFAR-10: Krizhevsky, Learning Multiple Layers of Features
from Tiny Images, 2009.
"""

import gzip
import hashlib
import io
import os
import pickle
import shlex
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VALIDATION_IMAGES = 5_000  # the last of the training images, in the original order
USUAL_FOLDERS = (Path("data"), Path("../shared/datasets"), Path("../shared"))  # where the originals may lie

Images = NDArray[np.uint8]  # [N,H,W,C], 0…255
Labels = NDArray[np.uint8]  # [N]


class DataError(Exception):
    """An original file is missing or not what was published; the message says which and what to do."""


@dataclass(frozen=True)
class Source:
    """One published file and the MD5 of each piece of content in it."""

    file: str  # where it lies below a data folder
    urls: tuple[str, ...]  # where it is published
    md5: dict[str, str]  # content name → MD5; for an archive, its members


@dataclass(frozen=True)
class Dataset:
    """A data set as it was published."""

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # one image, [H,W,C]
    train_images: int
    test_images: int
    sources: tuple[Source, ...]
    votes: Source  # what people said of test labels that looked wrong; no training needs it
    licence: str


@dataclass(frozen=True)
class Arrays:
    """Every image of a data set, in the original order."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


def _mnist_source(name: str, md5: str) -> Source:
    hosts = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    return Source(f"mnist/{name}.gz", tuple(f"{host}{name}.gz" for host in hosts), {name: md5})


def _votes_source(name: str, md5: str) -> Source:
    file = f"{name}_mturk.json"
    url = f"https://raw.githubusercontent.com/cleanlab/label-errors/main/mturk/{file}"
    return Source(f"label_votes/{file}", (url,), {file: md5})


MNIST = Dataset(
    name="mnist",
    classes=tuple("0123456789"),
    shape=(28, 28, 1),
    train_images=60_000,
    test_images=10_000,
    sources=(
        _mnist_source("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
        _mnist_source("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
        _mnist_source("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
        _mnist_source("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
    ),
    votes=_votes_source("mnist", "ebd50ddf96c29b4efe04bd15c8b0bd41"),
    licence="CC BY-SA 3.0; Yann LeCun, Corinna Cortes, Christopher J. C. Burges",
)
CIFAR10 = Dataset(
    name="cifar10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    shape=(32, 32, 3),
    train_images=50_000,
    test_images=10_000,
    sources=(
        Source(
            "cifar-10-python.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            {
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
                "test_batch": "40351d587109b95175f43aff81a1287e",
                "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
            },
        ),
    ),
    votes=_votes_source("cifar10", "d3f2217f2bb7fe18eca521458e936602"),
    licence="Alex Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
)
DATASETS = {dataset.name: dataset for dataset in (MNIST, CIFAR10)}


def data_folders(folder: Path | None = None) -> list[Path]:
    """Where the originals are looked for, in order: `folder` alone if given, else the usual places."""
    if folder is not None:
        return [folder]
    named = os.environ.get("CONVSCOPE_DATA")
    return [*([Path(named)] if named else []), *USUAL_FOLDERS]


def find(source: Source, folders: list[Path]) -> Path | None:
    """The file below the first folder that has it, with or without its own subfolder, packed or unpacked."""
    names = [source.file, Path(source.file).name, source.file.removesuffix(".gz"), Path(source.file).stem]
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return None


def contents(path: Path, source: Source) -> dict[str, bytes]:
    """The pieces of content in one original file, each verified by MD5. Raises DataError naming the wrong one."""
    try:
        found = dict(_unpack(path, source))
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged ({error}): delete it, then run `python -m training fetch`"
        ) from error
    for name, md5 in source.md5.items():
        if name not in found:
            raise DataError(f"{path} holds no {name}: delete it, then run `python -m training fetch`")
        actual = hashlib.md5(found[name], usedforsecurity=False).hexdigest()
        if actual != md5:
            raise DataError(
                f"{name} in {path} is not the published one: its MD5 is {actual}, not {md5}. "
                "Delete the file, then run `python -m training fetch`"
            )
    return found


def _unpack(path: Path, source: Source) -> Iterator[tuple[str, bytes]]:
    if path.name.endswith((".tar.gz", ".tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None and Path(member.name).name in source.md5:
                    yield Path(member.name).name, stream.read()
        return
    data = path.read_bytes()
    yield next(iter(source.md5)), gzip.decompress(data) if path.suffix == ".gz" else data


def parse_idx(data: bytes, name: str = "the file") -> NDArray[np.uint8]:
    """IDX of unsigned bytes → array of the shape its header says. Raises DataError where they disagree."""
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 3:
        raise DataError(
            f"{name} is no IDX file of unsigned bytes: it begins with {data[:4].hex(' ') or 'nothing'}"
        )
    header = 4 + 4 * data[3]
    if len(data) < header:
        raise DataError(f"{name} ends inside its header")
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, header, 4)]
    expected = header + int(np.prod(shape, dtype=np.int64))
    if len(data) != expected:
        raise DataError(f"{name} is {len(data):,} bytes long; its header {shape} asks for {expected:,}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


class _ArrayUnpickler(pickle.Unpickler):
    """Admits NumPy arrays and plain containers; any other name in the stream is refused, nothing is run."""

    _ADMITTED = frozenset({("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")})

    def find_class(self, module: str, name: str) -> Any:
        short = "multiarray" if module in {"numpy.core.multiarray", "numpy._core.multiarray"} else module
        if (short, name) == ("_codecs", "encode"):
            return _latin1
        if (short, name) not in self._ADMITTED:
            raise DataError(
                f"the pickle asks for {module}.{name}: only NumPy arrays and plain containers are read"
            )
        return _reconstruct if short == "multiarray" else getattr(np, name)


def _reconstruct(kind: type, shape: tuple[int, ...], typecode: bytes) -> NDArray[Any]:
    """An empty array for the pickle to fill, as NumPy's own function of this name makes it."""
    return np.ndarray.__new__(kind, shape, typecode.decode("ascii"))


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 pickles bytes in protocol 2; the one encoding it uses."""
    if encoding != "latin1":
        raise DataError(f"the pickle asks for the encoding {encoding!r}")
    return text.encode("latin1")


def parse_cifar_batch(data: bytes, name: str = "the batch") -> tuple[Images, Labels]:
    """One pickled batch → images uint8 [N,32,32,3] and labels uint8 [N]. Raises DataError for anything else."""
    try:
        batch = _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise DataError(f"{name} is no CIFAR-10 batch ({type(error).__name__}: {error})") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3072:
        raise DataError(f"{name} has pixels {pixels.dtype} {pixels.shape}, not uint8 (N, 3072)")
    if (
        labels.shape != pixels.shape[:1]
        or labels.dtype.kind not in "iu"
        or not np.isin(labels, range(10)).all()
    ):
        raise DataError(f"{name} has labels that are not one of 0…9 for each of its {len(pixels)} images")
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # the file keeps red, green and blue planes
    return np.ascontiguousarray(images), labels.astype(np.uint8)


def read_originals(dataset: Dataset, folders: list[Path]) -> Arrays:
    """The original files, found, verified and parsed. Raises DataError."""
    pieces: dict[str, bytes] = {}
    for source in dataset.sources:
        path = find(source, folders)
        if path is None:
            looked = ", ".join(str(folder) for folder in folders)
            told = f" --data {shlex.quote(looked)}" if len(folders) == 1 else ""
            raise DataError(f"{source.file} is in none of {looked}: run `python -m training fetch{told}`")
        pieces |= contents(path, source)
    arrays = _mnist_arrays(pieces) if dataset is MNIST else _cifar_arrays(pieces)
    check(dataset, arrays)
    return arrays


def _mnist_arrays(pieces: dict[str, bytes]) -> Arrays:
    parsed = {name: parse_idx(data, name) for name, data in pieces.items()}
    return Arrays(
        parsed["train-images-idx3-ubyte"][..., np.newaxis],
        parsed["train-labels-idx1-ubyte"],
        parsed["t10k-images-idx3-ubyte"][..., np.newaxis],
        parsed["t10k-labels-idx1-ubyte"],
    )


def _cifar_arrays(pieces: dict[str, bytes]) -> Arrays:
    batches = [parse_cifar_batch(pieces[f"data_batch_{k}"], f"data_batch_{k}") for k in range(1, 6)]
    return Arrays(
        np.concatenate([images for images, _ in batches]),
        np.concatenate([labels for _, labels in batches]),
        *parse_cifar_batch(pieces["test_batch"], "test_batch"),
    )


def check(dataset: Dataset, arrays: Arrays) -> None:
    """Shapes, types and labels are the data set's. Raises DataError."""
    for part, images, labels, count in (
        ("train", arrays.train_images, arrays.train_labels, dataset.train_images),
        ("test", arrays.test_images, arrays.test_labels, dataset.test_images),
    ):
        if images.dtype != np.uint8 or images.shape != (count, *dataset.shape):
            raise DataError(
                f"{dataset.name} {part} images are {images.dtype} {images.shape}, "
                f"not uint8 {(count, *dataset.shape)}"
            )
        if labels.shape != (count,) or set(np.unique(labels)) != set(range(len(dataset.classes))):
            raise DataError(f"{dataset.name} {part} labels are not {count} of 0…{len(dataset.classes) - 1}")


def one_hot(labels: Labels, classes: int) -> NDArray[np.float32]:
    """[N] whole numbers → [N,classes] rows with a single 1, for losses that compare whole distributions."""
    return np.eye(classes, dtype=np.float32)[labels]


def training_split(arrays: Arrays, held_out: int | None = None) -> tuple[Images, Labels, Images, Labels]:
    """Training images and labels, validation images and labels: the last `held_out`, 5,000 if not given."""
    cut = len(arrays.train_labels) - (VALIDATION_IMAGES if held_out is None else held_out)
    images, labels = arrays.train_images, arrays.train_labels
    return images[:cut], labels[:cut], images[cut:], labels[cut:]
