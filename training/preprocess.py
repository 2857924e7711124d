"""The first study's step: pickled batches and IDX files → one checked array file a data set.

Reading and verifying the originals takes seconds; the array file opens at once, and carries the SHA-256 of
its own arrays so that a damaged one is never trained on.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from training.datasets import Arrays, DataError, Dataset, check, data_folders, read_originals
from training.whole_files import DamagedError, reading, written

PARTS = ("train_images", "train_labels", "test_images", "test_labels")


def array_file(dataset: Dataset, folder: Path) -> Path:
    """Where a data set's array file lies below a folder that may be written to."""
    return folder / "arrays" / f"{dataset.name}.npz"


def writable_folder(folder: Path | None = None) -> Path:
    """Where new files go: `folder`, else CONVSCOPE_DATA, else ./data."""
    return folder or Path(os.environ.get("CONVSCOPE_DATA") or "data")


def digest(arrays: Arrays) -> str:
    """SHA-256 over the four arrays' bytes, in order."""
    total = hashlib.sha256()
    for part in PARTS:
        total.update(np.ascontiguousarray(getattr(arrays, part)).data)
    return total.hexdigest()


def preprocess(dataset: Dataset, folder: Path | None = None) -> Path:
    """Write the array file from the originals and return its path. Raises DataError."""
    arrays = read_originals(dataset, data_folders(folder))
    path = array_file(dataset, writable_folder(folder))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of its own name: two runs that begin side by side may both be making it.
    with written(path, path.with_suffix(f".partial-{os.getpid()}.npz")) as partial:
        np.savez(partial, digest=np.array(digest(arrays)), **{part: getattr(arrays, part) for part in PARTS})
    return path


def load(dataset: Dataset, folder: Path | None = None) -> Arrays:
    """The data set's arrays, from the array file if there is one, made first if not. Raises DataError."""
    path = array_file(dataset, writable_folder(folder))
    return read(dataset, path if path.is_file() else preprocess(dataset, folder))


def read(dataset: Dataset, path: Path) -> Arrays:
    """The arrays of one array file, checked. Raises DataError."""
    try:
        with reading(), path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays, expected = Arrays(*(file[part] for part in PARTS)), str(file["digest"])
    except DamagedError as error:
        raise DataError(f"{path} is damaged ({error}): delete it, and it is made anew") from error
    check(dataset, arrays)
    if digest(arrays) != expected:
        raise DataError(f"{path} is damaged (its SHA-256 differs): delete it, and it is made anew")
    return arrays
