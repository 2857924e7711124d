"""The one input, `image`: a tensor as JSON or as bytes → uint8 images, or image files still encoded."""

import base64
import binascii
from itertools import chain
from math import prod
from reprlib import Repr
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidParameter, counted
from service.manifest import IMAGE_INPUT, InputSpec

DATATYPES = {
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32",
    "FP64", "BYTES",
}  # fmt: skip
ITEM_BYTES = {"UINT8": 1, "FP32": 4}
PREFIX_BYTES = 4  # of an element of BYTES: its length, uint32 little-endian

Images = NDArray[np.uint8] | list[bytes]

MOST_IMAGES = 2**31  # more than any body holds


class _Short(Repr):
    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write more than 4,300 digits, and nobody would read them.
        return repr(x) if x.bit_length() <= 64 else f"a number of {x.bit_length()} bits"

    def repr_bool(self, x: bool, level: int) -> str:
        return "true" if x else "false"

    def repr_NoneType(self, x: None, level: int) -> str:  # noqa: N802 - reprlib looks it up by the type's name
        return "null"


_short = _Short()
_short.maxstring = _short.maxother = 60


def shown(value: object) -> str:
    """What a client sent, short enough for a message, and with JSON's own words where those are not Python's."""
    return _short.repr(value)


class Form(NamedTuple):
    """What a tensor says of itself, checked: its datatype is one of ours and its shape fits the model."""

    datatype: str
    shape: tuple[int, ...]


def check_form(datatype: object, shape: object, spec: InputSpec, max_files: int) -> Form:
    """Raises InvalidParameter, which says what was expected and what came."""
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise InvalidParameter(f"{IMAGE_INPUT}: {shown(datatype)} is no datatype of the protocol")
    if datatype != "BYTES" and datatype not in ITEM_BYTES:
        raise InvalidParameter(
            f"{IMAGE_INPUT}: it takes UINT8 (0…255), FP32 (0…1) or BYTES (PNG, JPEG, …), not {datatype}"
        )
    if type(shape) is not list or not all(type(side) is int for side in shape):
        raise InvalidParameter(f"{IMAGE_INPUT}: shape must be a list of whole numbers, not {shown(shape)}")
    image = [] if datatype == "BYTES" else [spec.height, spec.width, spec.channels]
    # MLServer's codecs give every row its column: a file is one value, so that [N,1] can mean nothing else.
    if not shape or (shape[1:] != image and (datatype, shape[1:]) != ("BYTES", [1])):
        raise InvalidParameter(
            f"{IMAGE_INPUT}: {datatype} of shape {[-1, *image]} is expected, {shown(shape)} came"
        )
    if shape[0] < 1:
        raise InvalidParameter(
            f"{IMAGE_INPUT}: shape {shown(shape)} begins with the number of images, which must be 1 or more"
        )
    if shape[0] > MOST_IMAGES:
        raise InvalidParameter(
            f"{IMAGE_INPUT}: shape {shown(shape)} begins with the number of images, more than any body holds"
        )
    if datatype == "BYTES" and shape[0] > max_files:
        raise InvalidParameter(
            f"{IMAGE_INPUT}: {shape[0]:,} encoded images; at most {max_files:,} may come at once"
        )
    return Form(datatype, tuple(shape))


def from_bytes(data: memoryview, form: Form) -> Images:
    """The tensor's own bytes: uint8 [N,H,W,C], a view where it can be, or N image files.

    Raises InvalidParameter.
    """
    if form.datatype == "BYTES":
        return _elements(data, form.shape[0])
    expected = prod(form.shape) * ITEM_BYTES[form.datatype]
    if len(data) != expected:
        raise InvalidParameter(
            f"{IMAGE_INPUT}: {form.datatype} of shape {list(form.shape)} has {expected} bytes, {len(data)} came"
        )
    if form.datatype == "UINT8":
        return np.frombuffer(data, np.uint8).reshape(form.shape)
    return _scaled(np.frombuffer(data, "<f4")).reshape(form.shape)


def from_json(data: object, form: Form) -> Images:
    """`data` as JSON has it, nested or flat; BYTES are base64. Raises InvalidParameter."""
    numbers = _flat(data, form.shape)
    kinds = set(map(type, numbers))
    match form.datatype:
        case "BYTES":
            return [_file(at, text) for at, text in enumerate(numbers)]
        case "UINT8":
            return np.frombuffer(_octets(numbers, kinds), np.uint8).reshape(form.shape)
    if not kinds <= {int, float}:
        wrong = next(it for it in numbers if type(it) not in (int, float))
        raise InvalidParameter(f"{IMAGE_INPUT}: FP32 data are numbers from 0 to 1, not {shown(wrong)}")
    # Compared before they are converted: a whole number may have more digits than a float can hold.
    _refuse_out_of_range(min(numbers), max(numbers))
    return _scaled(np.array(numbers, np.float64)).reshape(form.shape)


def from_raw(body: memoryview, spec: InputSpec) -> NDArray[np.uint8]:
    """A body without any JSON: the pixels of as many images as they are enough for, uint8 [N,H,W,C]."""
    shape = (spec.height, spec.width, spec.channels)
    if not body or len(body) % prod(shape):
        raise InvalidParameter(
            f"a body without JSON holds whole images of {prod(shape)} bytes, UINT8 {[-1, *shape]}; "
            f"{counted(len(body), 'byte')} came"
        )
    return np.frombuffer(body, np.uint8).reshape(-1, *shape)


def _scaled(values: NDArray[Any]) -> NDArray[np.uint8]:
    """0…1 → 0…255, the nearest of them."""
    with np.errstate(invalid="ignore"):
        low, high = float(values.min()), float(values.max())
    _refuse_out_of_range(low, high)
    pixels: NDArray[np.uint8] = np.rint(values * values.dtype.type(255)).astype(np.uint8)
    return pixels


def _refuse_out_of_range(low: float, high: float) -> None:
    if not (low >= 0 and high <= 1):  # so written, it refuses what is no number too
        raise InvalidParameter(
            f"{IMAGE_INPUT}: FP32 data go from 0 to 1; these go from {shown(low)} to {shown(high)}. "
            "Pixels 0…255 are sent as UINT8"
        )


def _flat(data: object, shape: tuple[int, ...]) -> list[Any]:
    """A list of the shape's size, from one that is flat or nested just as the shape says."""
    if type(data) is not list:
        raise InvalidParameter(f"{IMAGE_INPUT}: data must be a list, not {shown(data)}")
    level, nesting = data, [len(data)]
    while list in (kinds := set(map(type, level))):
        lengths = set(map(len, level)) if kinds == {list} else set()
        if len(lengths) != 1:
            raise InvalidParameter(f"{IMAGE_INPUT}: data is ragged: its lists are not all of one length")
        nesting += lengths
        if nesting != list(shape[: len(nesting)]):
            raise InvalidParameter(f"{IMAGE_INPUT}: shape is {list(shape)}, data is nested as {nesting}…")
        level = list(chain.from_iterable(level))
    if len(nesting) > 1 and len(nesting) < len(shape):
        raise InvalidParameter(f"{IMAGE_INPUT}: shape is {list(shape)}, data is nested as {nesting}")
    if len(level) != prod(shape):
        raise InvalidParameter(
            f"{IMAGE_INPUT}: shape {list(shape)} has {counted(prod(shape), 'value')}, data has {len(level):,}"
        )
    return level


def _octets(numbers: list[Any], kinds: set[type]) -> bytes:
    try:
        if kinds == {int}:
            return bytes(numbers)
    except ValueError:
        pass
    wrong = next(it for it in numbers if type(it) is not int or not 0 <= it <= 255)
    raise InvalidParameter(f"{IMAGE_INPUT}: UINT8 data are whole numbers from 0 to 255, not {shown(wrong)}")


def _file(at: int, text: object) -> bytes:
    # An encoded image is no Unicode, so a JSON string can hold it only in some such form.
    try:
        return base64.b64decode(text, validate=True)  # type: ignore[arg-type]
    except (TypeError, ValueError, binascii.Error):
        raise InvalidParameter(
            f"{IMAGE_INPUT}: BYTES data in JSON are base64 strings of encoded images; element {at} is {shown(text)}"
        ) from None


def _elements(data: memoryview, count: int) -> list[bytes]:
    elements, at = [], 0
    for number in range(count):
        start = at + PREFIX_BYTES
        length = int.from_bytes(data[at:start], "little")
        at = start + length
        if at > len(data):
            raise InvalidParameter(
                f"{IMAGE_INPUT}: element {number} of BYTES ends at byte {at} of {len(data)}; "
                "an element is 4 bytes of length, little-endian, and so many bytes"
            )
        elements.append(bytes(data[start:at]))
    if at < len(data):
        raise InvalidParameter(
            f"{IMAGE_INPUT}: {counted(len(data) - at, 'byte')} too many came after {counted(count, 'element')} of BYTES"
        )
    return elements
