"""Published kernels are short numbers, and are kept once: two bytes each, in the Keras file, where the graphs read
them as well (`training.graphs`). No answer changes that is worth a word; what a manifest says is measured after it.
"""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from training.whole_files import written

Weights = list[NDArray[Any]]

_WEIGHTS = "model.weights.h5"  # Keras's name for the member of a .keras file that has them
OUTPUT_FIRST = (3, 2, 0, 1)
"""Axes of a convolution's kernel in graphs, [output,input,height,width], as Keras numbers them."""

_LEAST_BYTES = 1024  # of an array that graphs need not repeat
_ALIGNMENT = 64  # bytes; engines may map the file and compute where the numbers lie
_LOCAL_HEADER = 30  # bytes of a zip member's header before its name and extra field (PKWARE's APPNOTE, 4.3.7)
_PADDING = 0xD935  # the extra field that Android's zipalign pads with


class Kept(NamedTuple):
    """Where a .keras file that was packed has an array."""

    offset: int
    """of its first byte in the file"""
    shape: tuple[int, ...]
    """in Keras's order, such as [3,3,input,output]"""
    half: bool
    """float16 instead of float32"""


def rounded(weights: Weights, precision: str = "float32") -> Weights:
    """Kernels to the nearest number of half precision, still as float32; biases and statistics are few, and stay.

    A net that was trained in `precision` mixed_bfloat16 has multiplied numbers of bfloat16 all along: its kernels
    keep no more than that. Others keep float16's three bits more.
    """

    def shorten(kernel: NDArray[Any]) -> NDArray[Any]:
        return _to_float16(_to_bfloat16(kernel) if precision == "mixed_bfloat16" else kernel)

    return [shorten(weight) if weight.ndim > 1 else weight for weight in weights]


def _to_float16(kernel: NDArray[Any]) -> NDArray[Any]:
    if np.abs(kernel).max(initial=0) > np.finfo(np.float16).max:
        return kernel
    return kernel.astype(np.float16).astype(kernel.dtype)


def _to_bfloat16(kernel: NDArray[Any]) -> NDArray[Any]:
    """The upper half of each float32, ties to even."""
    bits = np.asarray(kernel, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def pack(path: Path) -> None:
    """Write a .keras file again: kernels that float16 holds take two bytes a number, and lie in it as they are."""
    with (
        written(path, path.with_suffix(".partial")) as partial,
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(partial, "w") as target,
    ):
        for member in source.infolist():
            # With the member's own date, so that the same model gives the same file.
            copy = zipfile.ZipInfo(member.filename, member.date_time)
            content = source.read(member)
            if member.filename == _WEIGHTS:
                content = _halved(content)
                copy.extra = _padding(target.start_dir + _LOCAL_HEADER + len(copy.filename))
            else:
                copy.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(copy, content)


def _padding(before: int) -> bytes:
    """An extra field after which the member's first byte is aligned."""
    length = -(before + 4) % _ALIGNMENT
    return struct.pack("<HH", _PADDING, length) + bytes(length)


def _halved(content: bytes) -> bytes:
    """An HDF5 file with its arrays as they are, no filter, in half precision where nothing is lost. Keras makes
    float32 of them again."""
    packed = io.BytesIO()
    where = {"alignment_threshold": _LEAST_BYTES, "alignment_interval": _ALIGNMENT}
    with h5py.File(io.BytesIO(content)) as source, h5py.File(packed, "w", **where) as target:
        target.attrs.update(source.attrs)

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                array = item[()]
                target.create_dataset(name, data=array.astype(np.float16) if _is_half(array) else array)
            else:
                target.require_group(name)
            target[name].attrs.update(item.attrs)

        source.visititems(copy)
    return packed.getvalue()


def _is_half(array: NDArray[Any]) -> bool:
    if array.dtype != np.float32 or array.ndim < 2:
        return False
    with np.errstate(over="ignore"):
        return bool((array.astype(np.float16) == array).all())


def kept_in(path: Path) -> dict[bytes, Kept]:
    """The larger arrays of a .keras file: the bytes that a graph has for each, float32, → where it lies. None of a
    file whose members are deflated."""
    arrays: dict[bytes, Kept] = {}
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(_WEIGHTS)
        if member.compress_type != zipfile.ZIP_STORED:
            return arrays
        first = _first_byte(path, member)
        with archive.open(member) as content, h5py.File(content) as weights:

            def index(_: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset) and item.chunks is None and item.nbytes >= _LEAST_BYTES:
                    array = item[()].astype(np.float32)
                    in_graph = array.transpose(OUTPUT_FIRST) if array.ndim == len(OUTPUT_FIRST) else array
                    kept = Kept(first + item.id.get_offset(), array.shape, item.dtype == np.float16)
                    arrays[np.ascontiguousarray(in_graph).tobytes()] = kept

            weights.visititems(index)
    return arrays


def _first_byte(path: Path, member: zipfile.ZipInfo) -> int:
    """Offset of a member's content in the archive."""
    with path.open("rb") as file:
        file.seek(member.header_offset + _LOCAL_HEADER - 4)
        name, extra = struct.unpack("<HH", file.read(4))
    return int(member.header_offset + _LOCAL_HEADER + name + extra)
