"""A request's body → images, and what is wanted of them."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic_core import from_json

from service.errors import InvalidParameter, TooManyBytes, counted
from service.manifest import IMAGE_INPUT, InputSpec
from service.open_inference import tensors
from service.open_inference.tensors import Form, Images, shown

LENGTH_HEADER = "Inference-Header-Content-Length"
SHARED_MEMORY = "shared_memory_region"  # an extension of the protocol that is none of ours
SHORT = 1 << 16  # bytes of JSON
HEAD = 1 << 11  # bytes of JSON: where binary tensors follow, many requests begin with the same
HEADS = 64  # that are kept

Object = dict[str, Any]


class Asked(NamedTuple):
    """An output that the request names."""

    name: str
    binary: bool
    classification: int | None
    """k: the k likeliest classes as strings"""


class InferRequest(NamedTuple):
    """One request, checked against the model's input. `outputs` is empty when it names none."""

    id: str | None
    images: Images
    outputs: Sequence[Asked]
    binary: bool
    """of outputs that do not say for themselves"""


class _Head(NamedTuple):
    """What the JSON says, checked as far as it can be without the bytes that may follow it."""

    id: str | None
    form: Form
    data: object
    """of the input, where JSON has it"""
    size: object
    """its bytes after the JSON, otherwise"""
    outputs: Sequence[Asked]
    binary: bool


class Bounds(NamedTuple):
    """What a request may be."""

    json_bytes: int
    """every number of them becomes an object on the way"""
    files: int
    """encoded images"""


def parse(body: bytes, json_length: int | None, spec: InputSpec, bounds: Bounds) -> InferRequest:
    """Raises InvalidParameter, which says what was expected and what came, or TooManyBytes."""
    whole = memoryview(body)
    if json_length == 0:
        return InferRequest(None, tensors.from_raw(whole, spec), (), binary=True)
    text, tail = (whole, None) if json_length is None else (whole[:json_length], whole[json_length:])
    if len(text) > bounds.json_bytes:
        raise TooManyBytes(
            f"the JSON has {len(text):,} bytes; the limit is {bounds.json_bytes:,}. Binary tensors may be longer"
        )
    if tail is not None and len(text) <= HEAD:
        return _with_images(_known_head(bytes(text), spec, bounds.files), tail)
    if len(text) <= SHORT:
        return _with_images(_head(text, spec, bounds.files), tail)
    with _no_collections():
        return _with_images(_head(text, spec, bounds.files), tail)


@contextmanager
def _no_collections() -> Iterator[None]:
    """What JSON holds has no cycles, and to look for them in a million new lists takes longer than all the rest."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _head(text: bytes | memoryview, spec: InputSpec, max_files: int) -> _Head:
    head = _object(_json(text), "the body")
    parameters = _parameters(head, "request")
    binary = _bool(parameters, "binary_data_output", default=False)
    found = head.get("id")
    if found is not None and not isinstance(found, str):
        raise InvalidParameter(f"id must be a string, not {shown(found)}")
    return _Head(found, *_input(head, spec, max_files), _outputs(head, binary), binary)


# A client that sends batches of one size says the same each time, and reading it takes a twentieth of what 64 small
# images take the engine. Whoever writes another id each time has it read each time.
_known_head = lru_cache(HEADS)(_head)


def _with_images(head: _Head, tail: memoryview | None) -> InferRequest:
    return InferRequest(head.id, _images(head, tail), head.outputs, head.binary)


def _json(text: bytes | memoryview) -> object:
    try:
        return from_json(bytes(text), allow_inf_nan=False)
    except ValueError as error:
        raise InvalidParameter(
            f"the request is no JSON: {error}; pixels alone need the header {LENGTH_HEADER}: 0"
        ) from None


def _input(head: Object, spec: InputSpec, max_files: int) -> tuple[Form, object, object]:
    """What its one tensor says of itself, and its `data` or the number of its bytes."""
    inputs = _list(head, "inputs")
    if len(inputs) != 1:
        raise InvalidParameter(f"one input is expected, {IMAGE_INPUT}; inputs has {len(inputs)}")
    tensor = _object(inputs[0], "an input")
    name = _member(tensor, "name", "an input")
    if name != IMAGE_INPUT:
        raise InvalidParameter(f"the input is {IMAGE_INPUT!r}, not {shown(name)}")
    datatype, shape = (_member(tensor, one, IMAGE_INPUT) for one in ("datatype", "shape"))
    form = tensors.check_form(datatype, shape, spec, max_files)
    size = _tensor_parameters(tensor, IMAGE_INPUT).get("binary_data_size")
    data = tensor.get("data")
    if (data is None) == (size is None):
        raise InvalidParameter(
            f"{IMAGE_INPUT}: exactly one of data and parameters.binary_data_size is expected"
        )
    return form, data, size


def _images(head: _Head, tail: memoryview | None) -> Images:
    size = head.size
    if size is None:
        if tail:
            raise InvalidParameter(
                f"{counted(len(tail), 'byte')} came after the JSON, and no tensor is binary"
            )
        return tensors.from_json(head.data, head.form)
    if tail is None:
        raise InvalidParameter(f"{IMAGE_INPUT}: binary_data_size needs the header {LENGTH_HEADER}")
    if type(size) is not int or size != len(tail):
        raise InvalidParameter(
            f"{IMAGE_INPUT}: binary_data_size is {shown(size)}, {counted(len(tail), 'byte')} came after the JSON"
        )
    return tensors.from_bytes(tail, head.form)


def _outputs(head: Object, binary: bool) -> Sequence[Asked]:
    outputs = [] if head.get("outputs") is None else _list(head, "outputs")
    asked = [_asked(_object(output, "an output"), binary) for output in outputs]
    if len({one.name for one in asked}) != len(asked):
        raise InvalidParameter("outputs names one of them twice")
    return tuple(asked)


def _asked(output: Object, binary: bool) -> Asked:
    name = _member(output, "name", "an output")
    if not isinstance(name, str):
        raise InvalidParameter(f"the name of an output must be a string, not {shown(name)}")
    parameters = _tensor_parameters(output, name)
    count = parameters.get("classification")
    if count is not None and (type(count) is not int or count < 1):
        raise InvalidParameter(f"{shown(name)}: classification is a number of classes, not {shown(count)}")
    return Asked(name, _bool(parameters, "binary_data", default=binary), count)


def _object(value: object, what: str) -> Object:
    if not isinstance(value, dict):
        raise InvalidParameter(f"{what} must be a JSON object, not {shown(value)}")
    return value


def _member(owner: Object, name: str, what: str) -> object:
    if name not in owner:
        raise InvalidParameter(f"{what}: {name} is missing")
    return owner[name]


def _list(head: Object, name: str) -> list[Any]:
    value = _member(head, name, "the body")
    if not isinstance(value, list):
        raise InvalidParameter(f"{name} must be a list, not {shown(value)}")
    return value


def _parameters(owner: Object, what: str) -> Object:
    """A flat map; parameters that mean nothing here are passed over, as the protocol has it."""
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidParameter(f"parameters of {shown(what)} must be a JSON object, not {shown(parameters)}")
    for name, one in parameters.items():
        if not isinstance(one, (str, int, float)):
            raise InvalidParameter(
                f"parameter {shown(name)} of {shown(what)} must be a string, number or boolean, not {shown(one)}"
            )
    return parameters


def _tensor_parameters(tensor: Object, name: str) -> Object:
    """Those of one input or output. Who waits for it in shared memory would find there what was there before."""
    parameters = _parameters(tensor, name)
    if SHARED_MEMORY in parameters:
        raise InvalidParameter(f"{shown(name)}: shared memory is not supported")
    return parameters


def _bool(parameters: Object, name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidParameter(f"{name} must be true or false, not {shown(value)}")
    return value
