"""Published kernels hold numbers of half precision, in files of float32: no answer changes that is worth a word, and
the zeros behind every number halve what is stored and sent wherever files are compressed.

Everything a manifest says is measured after the rounding.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = list[NDArray[Any]]


def rounded(weights: Weights) -> Weights:
    """Kernels to the nearest float16, still as float32; biases and statistics, which are few, as they are."""
    return [_rounded(weight) if weight.ndim > 1 else weight for weight in weights]


def _rounded(kernel: NDArray[Any]) -> NDArray[Any]:
    if np.abs(kernel).max(initial=0) > np.finfo(np.float16).max:
        return kernel
    return kernel.astype(np.float16).astype(kernel.dtype)


def compress(path: Path) -> None:
    """Write a zip archive again with its members deflated: Keras only stores them."""
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(path) as stored, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as deflated:
        for member in stored.infolist():
            # With the member's own date, so that the same model gives the same file.
            deflated.writestr(member, stored.read(member), zipfile.ZIP_DEFLATED)
    partial.replace(path)
