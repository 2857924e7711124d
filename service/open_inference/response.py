"""Output tensors → a response's body."""

from collections.abc import Sequence
from struct import pack
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json


class Output(NamedTuple):
    """One tensor of the answer, row-major."""

    name: str
    datatype: Literal["FP32", "BYTES"]
    shape: Sequence[int]
    data: NDArray[np.float32] | list[str]
    binary: bool


def render(head: dict[str, Any], outputs: Sequence[Output]) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON if binary tensors follow it, else None."""
    described, tail = [], []
    for output in outputs:
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if output.binary:
            tail.append(_binary(output.data))
            entry["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            entry["data"] = output.data if isinstance(output.data, list) else output.data.ravel().tolist()
        described.append(entry)
    text = to_json({**head, "outputs": described})
    return b"".join((text, *tail)), len(text) if tail else None


def _binary(data: NDArray[np.float32] | list[str]) -> bytes:
    if not isinstance(data, list):
        return np.ascontiguousarray(data, "<f4").tobytes()
    # Of many images few labels are different.
    written = {text: _element(text.encode()) for text in set(data)}
    return b"".join(map(written.__getitem__, data))


def _element(text: bytes) -> bytes:
    return pack("<I", len(text)) + text
