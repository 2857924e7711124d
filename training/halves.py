"""Published kernels hold short numbers: no answer changes that is worth a word. In files of float32 the zeros behind
every number are what compression saves, wherever they are stored or sent; `training.graphs` leaves some out at once.

Everything a manifest says is measured after the rounding.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Weights = list[NDArray[Any]]

_WEIGHTS = "model.weights.h5"  # Keras's name for the member of a .keras file that has them
_LEAST_BYTES = 4096  # of an array that is worth packing


def rounded(weights: Weights, precision: str = "float32") -> Weights:
    """Kernels to the nearest number of half precision, still as float32; biases and statistics are few, and stay.

    A net that was trained in `precision` mixed_bfloat16 has multiplied numbers of bfloat16 all along: its kernels
    keep no more than that. Others keep float16's three bits more.
    """
    shorten = _to_bfloat16 if precision == "mixed_bfloat16" else _to_float16
    return [shorten(weight) if weight.ndim > 1 else weight for weight in weights]


def _to_float16(kernel: NDArray[Any]) -> NDArray[Any]:
    if np.abs(kernel).max(initial=0) > np.finfo(np.float16).max:
        return kernel
    return kernel.astype(np.float16).astype(kernel.dtype)


def _to_bfloat16(kernel: NDArray[Any]) -> NDArray[Any]:
    """The upper half of each float32, ties to even."""
    bits = np.asarray(kernel, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def compress(path: Path) -> None:
    """Write a .keras file again with its members deflated: Keras only stores them."""
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(path) as stored, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as deflated:
        for member in stored.infolist():
            content = stored.read(member)
            if member.filename == _WEIGHTS:
                content = _packed(content)
            # With the member's own date, so that the same model gives the same file.
            deflated.writestr(member, content, zipfile.ZIP_DEFLATED)
    partial.replace(path)


def _packed(content: bytes) -> bytes:
    """An HDF5 file with its arrays compressed, the bytes of equal weight beside each other (HDF5's shuffle filter):
    a quarter less than deflating the file as it is. Every reader of HDF5 undoes it by itself."""
    packed = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as source, h5py.File(packed, "w") as target:
        target.attrs.update(source.attrs)

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                large = item.nbytes >= _LEAST_BYTES
                how = {"shuffle": True, "compression": "gzip", "compression_opts": 9, "chunks": item.shape}
                target.create_dataset(name, data=item[()], **(how if large else {}))
            else:
                target.require_group(name)
            target[name].attrs.update(item.attrs)

        source.visititems(copy)
    return packed.getvalue()
