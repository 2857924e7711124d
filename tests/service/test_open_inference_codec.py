"""service/open_inference: bodies to images and answers back, without HTTP."""

import gc
import json
import struct
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.errors import InvalidParameter, Problem, TooManyBytes
from service.manifest import InputSpec, Manifest
from service.open_inference.outputs import choose
from service.open_inference.request import (
    HEADS,
    Asked,
    Bounds,
    InferRequest,
    _known_head,
    parse,
)
from service.open_inference.response import Output, render
from tests.service.shipped import manifest as shipped

SPEC = InputSpec(height=2, width=3, channels=1)
BOUNDS = Bounds(json_bytes=100_000, files=4)
PIXELS = np.array([0, 1, 2, 127, 254, 255] * 2, np.uint8).reshape(2, 2, 3, 1)
TENSOR = {"name": "image", "datatype": "UINT8", "shape": [2, 2, 3, 1]}


def read(head: object, tail: bytes | None = None, bounds: Bounds = BOUNDS) -> InferRequest:
    text = json.dumps(head).encode()
    return parse(text + (tail or b""), None if tail is None else len(text), SPEC, bounds)


def read_tensor(tail: bytes | None = None, **changes: Any) -> NDArray[np.uint8] | list[bytes]:
    return read({"inputs": [TENSOR | changes]}, tail).images


def of_size(size: object) -> dict[str, Any]:
    return {"binary_data_size": size}


def prefixed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(one)) + one for one in elements)


@pytest.mark.parametrize("data", [PIXELS.tolist(), PIXELS.ravel().tolist()], ids=["nested", "flat"])
def test_numbers_in_json_are_the_pixels(data: list[Any]) -> None:
    images = read_tensor(data=data)
    assert isinstance(images, np.ndarray)
    assert images.dtype == np.uint8
    assert np.array_equal(images, PIXELS)


def test_bytes_after_the_json_are_the_pixels() -> None:
    assert np.array_equal(read_tensor(PIXELS.tobytes(), parameters=of_size(12)), PIXELS)


def test_requests_that_begin_alike_have_pixels_of_their_own_and_one_of_another_length_is_refused() -> None:
    for _ in range(2):
        for pixels in (PIXELS, 255 - PIXELS):
            assert np.array_equal(read_tensor(pixels.tobytes(), parameters=of_size(12)), pixels)
        with pytest.raises(InvalidParameter, match="11 bytes came after the JSON"):
            read_tensor(b"x" * 11, parameters=of_size(12))


def test_only_some_beginnings_of_requests_are_kept() -> None:
    assert _known_head.cache_info().maxsize == HEADS


def test_what_fits_one_model_is_refused_for_another() -> None:
    text = json.dumps({"inputs": [TENSOR | {"parameters": of_size(12)}]}).encode()
    body = text + PIXELS.tobytes()
    assert len(parse(body, len(text), SPEC, BOUNDS).images) == 2
    with pytest.raises(InvalidParameter, match="is expected"):
        parse(body, len(text), InputSpec(height=3, width=2, channels=1), BOUNDS)


def test_a_body_without_json_is_pixels_and_asks_for_binary_outputs() -> None:
    request = parse(PIXELS.tobytes(), 0, SPEC, BOUNDS)
    assert np.array_equal(request.images, PIXELS)
    assert request.binary


def test_every_value_of_a_pixel_survives_as_a_float() -> None:
    spec = InputSpec(height=16, width=16, channels=1)
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    floats = pixels.astype("<f4") / 255
    form = {"name": "image", "datatype": "FP32", "shape": [1, 16, 16, 1]}
    in_json = json.dumps({"inputs": [form | {"data": floats.tolist()}]}).encode()
    head = json.dumps({"inputs": [form | {"parameters": of_size(1024)}]}).encode()
    assert np.array_equal(parse(in_json, None, spec, BOUNDS).images, pixels)
    assert np.array_equal(parse(head + floats.tobytes(), len(head), spec, BOUNDS).images, pixels)


def test_a_float_between_two_pixels_is_the_nearest() -> None:
    floats = ((PIXELS - 0.4) / 255).clip(0).astype("<f4")
    numbers = FLOATS | {"data": floats.tolist()}
    assert np.array_equal(read_tensor(**numbers), PIXELS)
    assert np.array_equal(read_tensor(floats.tobytes(), **FLOATS, parameters=of_size(48)), PIXELS)


@pytest.mark.parametrize("shape", [[2], [2, 1]], ids=["row", "column"])  # MLServer's codecs make columns
def test_encoded_images_come_as_base64_or_with_their_lengths(shape: list[int]) -> None:
    files = [b"\x89PNG", b""]
    text = [b64encode(one).decode() for one in files]
    assert read_tensor(datatype="BYTES", shape=shape, data=text) == files
    assert read_tensor(datatype="BYTES", shape=shape, data=np.reshape(text, shape).tolist()) == files
    tail = prefixed(*files)
    assert read_tensor(tail, datatype="BYTES", shape=shape, parameters=of_size(len(tail))) == files


def test_as_many_encoded_images_as_may_come_do() -> None:
    files = [b"x"] * BOUNDS.files
    text = [b64encode(one).decode() for one in files]
    assert read_tensor(datatype="BYTES", shape=[BOUNDS.files], data=text) == files


def test_outputs_say_for_themselves_before_the_request_says_for_all() -> None:
    request = read(
        {
            "id": "one",
            "parameters": {"binary_data_output": True, "priority": 3},
            "inputs": [TENSOR | {"data": PIXELS.tolist()}],
            "outputs": [
                {"name": "a"},
                {"name": "b", "parameters": {"binary_data": False, "classification": 2}},
            ],
        }
    )
    assert request.id == "one"
    assert list(request.outputs) == [("a", True, None), ("b", False, 2)]


NUMBERS = PIXELS.ravel().tolist()
FLOATS = TENSOR | {"datatype": "FP32"}
FILES = TENSOR | {"datatype": "BYTES", "shape": [2]}
WRONG_TENSORS: list[tuple[dict[str, Any], str]] = [
    ({"name": "input"}, "'image', not 'input'"),
    ({"datatype": "uint8"}, "no datatype of the protocol"),
    ({"datatype": ["UINT8"]}, "no datatype of the protocol"),
    ({"datatype": "INT64"}, "takes UINT8 (0…255), FP32 (0…1) or BYTES (PNG, JPEG, …), not INT64"),
    ({"shape": [2, 6]}, "UINT8 of shape [-1, 2, 3, 1] is expected, [2, 6] came"),
    ({"shape": [2, 1, 2, 3]}, "[-1, 2, 3, 1] is expected"),
    ({"shape": [-1, 2, 3, 1]}, "[-1, 2, 3, 1] begins with the number of images, which must be 1 or more"),
    (
        {"shape": [0, 2, 3, 1], "data": []},
        "[0, 2, 3, 1] begins with the number of images, which must be 1 or more",
    ),
    ({"shape": [2.0, 2, 3, 1]}, "whole numbers"),
    ({"shape": [True, 2, 3, 1]}, "whole numbers"),
    ({"shape": 12}, "must be a list"),
    ({"shape": None}, "must be a list of whole numbers, not null"),
    ({"shape": [None, {"a": False}]}, "not [null, {'a': false}]"),
    ({"datatype": None}, "null is no datatype"),
    ({"name": None}, "'image', not null"),
    (
        {"shape": [10**4299, 2, 3, 1]},
        "[a number of 14281 bits, 2, 3, 1] begins with the number of images, more",
    ),
    ({"shape": [2**40, 2, 3, 1]}, "begins with the number of images, more than any body holds"),
    ({"shape": [3, 2, 3, 1]}, "has 18 values, data has 12"),
    ({"data": NUMBERS[:-1]}, "has 12 values, data has 11"),
    ({"data": []}, "data has 0"),
    ({"data": "AAAA"}, "must be a list"),
    ({"data": {"0": 1}}, "must be a list"),
    ({"data": [NUMBERS[:6], NUMBERS[:5]]}, "ragged"),
    ({"data": [NUMBERS[:6], 1]}, "ragged"),
    ({"data": [NUMBERS[:6], NUMBERS[:6]]}, "nested as [2, 6]…"),
    ({"data": PIXELS.reshape(2, 2, 3).tolist()}, "nested as [2, 2, 3]"),
    ({"data": PIXELS[..., None].tolist()}, "nested as [2, 2, 3, 1, 1]…"),
    ({"data": PIXELS.reshape(2, 1, 2, 3).tolist()}, "nested as [2, 1]…"),
    ({"data": [[[[[[1]]]]]]}, "nested"),
    ({"data": [256, *NUMBERS[1:]]}, "from 0 to 255, not 256"),
    ({"data": [-1, *NUMBERS[1:]]}, "from 0 to 255, not -1"),
    ({"data": [0.5, *NUMBERS[1:]]}, "from 0 to 255, not 0.5"),
    ({"data": [True, *NUMBERS[1:]]}, "from 0 to 255, not true"),
    ({"data": [None, *NUMBERS[1:]]}, "from 0 to 255, not null"),
    ({"data": ["1", *NUMBERS[1:]]}, "from 0 to 255, not '1'"),
    ({"data": [10**4299, *NUMBERS[1:]]}, "from 0 to 255"),
    (FLOATS | {"data": NUMBERS}, "from 0 to 1; these go from 0 to 255. Pixels 0…255 are sent as UINT8"),
    (FLOATS | {"data": [1e300] * 12}, "from 0 to 1"),
    (FLOATS | {"data": [10**4299] * 12}, "from 0 to 1"),
    (FLOATS | {"data": [-0.1] * 12}, "from 0 to 1"),
    (FLOATS | {"data": [None] * 12}, "numbers from 0 to 1, not null"),
    (FILES | {"data": ["####", ""]}, "element 0 is '####'"),
    (FILES | {"data": ["", "é"]}, "element 1"),
    (FILES | {"data": ["", 7]}, "element 1 is 7"),
    (FILES | {"shape": [5], "data": [""] * 5}, "5 encoded images; at most 4"),
    (FILES | {"shape": [5000], "data": []}, "5,000 encoded images; at most 4 may come at once"),
    (FILES | {"shape": [1], "data": []}, "shape [1] has 1 value, data has 0"),
    (FILES | {"shape": [], "data": [""] * 2}, "BYTES of shape [-1] is expected, [] came"),
    (FILES | {"shape": [1, 2], "data": [""] * 2}, "BYTES of shape [-1] is expected, [1, 2] came"),
    (FILES | {"shape": [2, 1, 1], "data": [""] * 2}, "BYTES of shape [-1] is expected, [2, 1, 1] came"),
    (FILES | {"shape": [5, 1], "data": [""] * 5}, "5 encoded images; at most 4"),
    (TENSOR | {"shape": [12, 1], "data": [0] * 12}, "UINT8 of shape [-1, 2, 3, 1] is expected, [12, 1] came"),
    ({"data": NUMBERS, "parameters": of_size(12)}, "exactly one of data and parameters.binary_data_size"),
    ({"data": None}, "exactly one of"),
    ({"data": None, "parameters": of_size(12)}, "needs the header Inference-Header-Content-Length"),
    ({"parameters": [1]}, "parameters of 'image' must be a JSON object"),
    ({"parameters": {"a": {}}}, "parameter 'a' of 'image' must be a string, number or boolean"),
    ({"parameters": {"a": []}}, "parameter 'a' of 'image' must be a string, number or boolean, not []"),
    ({"parameters": {"a": None}}, "parameter 'a' of 'image' must be a string, number or boolean, not null"),
    ({"data": None, "parameters": {"shared_memory_region": "r"}}, "'image': shared memory is not supported"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG_TENSORS)
def test_a_wrong_tensor_says_what_was_expected_and_what_came(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read_tensor(**({"data": NUMBERS} | changes))
    assert said in caught.value.detail
    assert len(caught.value.detail) < 300


NOT_A_NUMBER = np.full(12, np.nan, "<f4").tobytes()
WRONG_BYTES: list[tuple[dict[str, Any], bytes, str]] = [
    ({"parameters": of_size(12)}, b"x" * 11, "binary_data_size is 12, 11 bytes came after the JSON"),
    ({"parameters": of_size(12)}, b"x" * 13, "binary_data_size is 12, 13 bytes came after the JSON"),
    ({"parameters": of_size(11)}, b"x" * 11, "UINT8 of shape [2, 2, 3, 1] has 12 bytes, 11 came"),
    ({"parameters": of_size(-1)}, b"", "binary_data_size is -1"),
    ({"parameters": of_size("12")}, b"x" * 12, "binary_data_size is '12'"),
    ({"parameters": of_size(True)}, b"x", "binary_data_size is true, 1 byte came after the JSON"),
    ({"data": NUMBERS}, b"x", "1 byte came after the JSON, and no tensor is binary"),
    (FLOATS | {"parameters": of_size(12)}, b"x" * 12, "FP32 of shape [2, 2, 3, 1] has 48 bytes, 12 came"),
    (FLOATS | {"parameters": of_size(48)}, NOT_A_NUMBER, "from nan to nan"),
    (FLOATS | {"parameters": of_size(48)}, np.full(12, np.inf, "<f4").tobytes(), "from inf to inf"),
    (FLOATS | {"parameters": of_size(48)}, b"\x01\x00\x80\x7f" * 12, "from nan to nan"),
    (FILES | {"parameters": of_size(4)}, b"\xff\xff\xff\xff", "element 0 of BYTES ends at byte 4294967299 of 4"),
    (FILES | {"parameters": of_size(5)}, prefixed(b"a"), "element 1 of BYTES ends"),
    (FILES | {"parameters": of_size(9)}, prefixed(b"a", b"b")[:-1], "element 1 of BYTES ends at byte 10 of 9"),
    (FILES | {"parameters": of_size(2)}, b"\x00\x00", "element 0 of BYTES ends"),
    (FILES | {"parameters": of_size(9)}, prefixed(b"", b"") + b"x", "1 byte too many came after 2 elements"),
    (FILES | {"shape": [1], "parameters": of_size(6)}, prefixed(b"") + b"xy", "2 bytes too many came after 1 element "),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "tail", "said"), WRONG_BYTES)
def test_wrong_bytes_say_what_was_expected_and_what_came(
    changes: dict[str, Any], tail: bytes, said: str
) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read_tensor(tail, **changes)
    assert said in caught.value.detail


INPUTS = [TENSOR | {"data": NUMBERS}]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ([], "the body must be a JSON object, not []"),
        (None, "must be a JSON object"),
        ({}, "the body: inputs is missing"),
        ({"inputs": None}, "inputs must be a list, not null"),
        ({"inputs": {}}, "inputs must be a list"),
        ({"inputs": [{}]}, "an input: name is missing"),
        ({"inputs": [{"name": "image"}]}, "image: datatype is missing"),
        ({"inputs": [{"name": "image", "datatype": "UINT8"}]}, "image: shape is missing"),
        ({"inputs": []}, "one input is expected, image; inputs has 0"),
        ({"inputs": INPUTS * 2}, "inputs has 2"),
        ({"inputs": [1]}, "an input must be a JSON object, not 1"),
        ({"inputs": INPUTS, "id": 7}, "id must be a string, not 7"),
        ({"inputs": INPUTS, "outputs": "label"}, "outputs must be a list"),
        ({"inputs": INPUTS, "outputs": ["label"]}, "an output must be a JSON object"),
        ({"inputs": INPUTS, "outputs": [{}]}, "an output: name is missing"),
        ({"inputs": INPUTS, "outputs": [{"name": None}]}, "the name of an output must be a string, not null"),
        ({"inputs": INPUTS, "outputs": [{"name": "a"}, {"name": "a"}]}, "twice"),
        ({"inputs": INPUTS, "parameters": {"binary_data_output": 1}}, "must be true or false, not 1"),
        (
            {"inputs": INPUTS, "outputs": [{"name": "a", "parameters": {"binary_data": "no"}}]},
            "true or false",
        ),
        ({"inputs": INPUTS, "outputs": [{"name": "a", "parameters": {"classification": 0}}]}, "not 0"),
        ({"inputs": INPUTS, "outputs": [{"name": "a", "parameters": {"classification": True}}]}, "not true"),
        (
            {"inputs": INPUTS, "outputs": [{"name": "a", "parameters": {"shared_memory_region": "r"}}]},
            "'a': shared memory is not supported",
        ),
    ],
)
def test_a_wrong_request_says_what_was_expected_and_what_came(head: object, said: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read(head)
    assert said in caught.value.detail


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"{} {}", b"\xff", b"[" * 100_000, b'{"inputs": NaN}', b'"\\ud800"', b"9" * 5000],
    ids=["empty", "cut", "two", "no-utf-8", "deep", "nan", "surrogate", "digits"],
)
def test_no_json_says_so(text: bytes) -> None:
    with pytest.raises(InvalidParameter, match="the request is no JSON"):
        parse(text, None, SPEC, BOUNDS)


def test_json_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooManyBytes, match="Binary tensors may be longer"):
        parse(b"[" * 100_001, None, SPEC, BOUNDS)
    images = bytes(12_000)
    binary = TENSOR | {"shape": [2000, 2, 3, 1], "parameters": of_size(len(images))}
    assert len(read({"inputs": [binary]}, images, Bounds(json_bytes=1000, files=4)).images) == 2000


@pytest.mark.parametrize("text", [b" " * 70_000 + json.dumps({"inputs": [TENSOR]}).encode(), b"[" * 70_000])
def test_after_long_json_garbage_is_collected_again(text: bytes) -> None:
    with pytest.raises(InvalidParameter):
        parse(text, None, SPEC, BOUNDS)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("body", "came"),
    [(b"", "0 bytes"), (b"x", "1 byte"), (b"x" * 5, "5 bytes"), (b"x" * 1300, "1,300 bytes")],
)
def test_raw_bytes_must_be_whole_images(body: bytes, came: str) -> None:
    with pytest.raises(InvalidParameter, match=rf"images of 6 bytes, .* {came} came"):
        parse(body, 0, SPEC, BOUNDS)


def test_an_answer_is_json_and_then_the_binary_outputs_in_order() -> None:
    values = np.array([[0.25, 0.5]], np.float32)
    body, length = render(
        {"model_name": "m"},
        [
            Output("a", "BYTES", [3], ["é", "", "é"], True),
            Output("b", "FP32", [1, 2], values, False),
            Output("c", "FP32", [1, 2], values, True),
        ],
    )
    assert json.loads(body[:length]) == {
        "model_name": "m",
        "outputs": [
            {"name": "a", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": 16}},
            {"name": "b", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.5]},
            {"name": "c", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
        ],
    }
    assert body[length:] == prefixed("é".encode(), b"", "é".encode()) + values.astype("<f4").tobytes()


@pytest.mark.parametrize("binary", [True, False])
def test_outputs_longer_than_may_be_are_refused_before_they_are_made(*, binary: bool) -> None:
    manifest = Manifest.model_validate(shipped("mnist-baseline"))
    images = np.zeros((50, 28, 28, 1), np.uint8)
    values = np.random.default_rng(0).random((50, 10), np.float32)
    body, _ = render({}, [Output("probabilities", "FP32", values.shape, values, binary)])
    asked = InferRequest(None, images, [Asked("probabilities", binary, None)], binary)
    assert choose(asked, manifest, 2 * len(body)) == asked.outputs
    with pytest.raises(InvalidParameter, match="the outputs asked for would have about"):
        choose(asked, manifest, len(body) // 2)


def test_an_answer_without_binary_outputs_is_all_json() -> None:
    body, length = render({}, [Output("a", "BYTES", [1], ["x"], False)])
    assert length is None
    assert json.loads(body) == {"outputs": [{"name": "a", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(
    ["image", "UINT8", "FP32", "BYTES", "AAAA", 12, 48]
)  # fmt: skip
NESTED = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner), max_leaves=8
)  # fmt: skip
DATA = st.lists(st.integers(-1, 256) | st.floats(-0.1, 1.1), min_size=6, max_size=12)
ANY_TENSOR = st.fixed_dictionaries(
    {"name": st.just("image")},
    optional={
        "datatype": st.sampled_from(["UINT8", "FP32", "BYTES", "INT8"]) | NESTED,
        "shape": st.sampled_from([[1, 2, 3, 1], [2, 2, 3, 1], [1], [2]]) | NESTED,
        "data": DATA | NESTED,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 50)}) | NESTED,
    },
)
ANY_REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(ANY_TENSOR, min_size=1, max_size=1) | NESTED},
    optional={"id": NESTED, "outputs": NESTED, "parameters": NESTED},
)


def outcome_of(work: Callable[[], InferRequest]) -> InferRequest | Problem:
    try:
        return work()
    except Problem as problem:
        return problem


@settings(max_examples=200, deadline=None)
@given(head=ANY_REQUEST | NESTED, tail=st.none() | st.binary(max_size=50))
def test_any_json_is_images_or_a_problem(head: object, tail: bytes | None) -> None:
    outcome = outcome_of(lambda: read(head, tail))
    if isinstance(outcome, Problem):
        assert outcome.status in (413, 422)
        assert len(outcome.detail) < 1000
    elif not isinstance(outcome.images, list):
        assert outcome.images.dtype == np.uint8
        assert outcome.images.shape[1:] == (2, 3, 1)


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=100), length=st.none() | st.integers(0, 100))
def test_any_bytes_are_images_or_a_problem(body: bytes, length: int | None) -> None:
    outcome = outcome_of(lambda: parse(body, length and min(length, len(body)), SPEC, BOUNDS))
    assert not isinstance(outcome, Problem) or outcome.status == 422


@settings(max_examples=100, deadline=None)
@given(pixels=st.integers(1, 4).flatmap(lambda n: st.binary(min_size=6 * n, max_size=6 * n)))
def test_every_form_of_the_same_pixels_is_the_same_images(pixels: bytes) -> None:
    images = np.frombuffer(pixels, np.uint8).reshape(-1, 2, 3, 1)
    floats = (images / 255).astype("<f4")
    shape: dict[str, Any] = {"shape": list(images.shape)}
    as_floats: dict[str, Any] = shape | {"datatype": "FP32"}
    forms = [
        parse(pixels, 0, SPEC, BOUNDS).images,
        read_tensor(pixels, **shape, parameters=of_size(len(pixels))),
        read_tensor(**shape, data=list(pixels)),
        read_tensor(**shape, data=images.tolist()),
        read_tensor(floats.tobytes(), **as_floats, parameters=of_size(4 * len(pixels))),
        read_tensor(**as_floats, data=floats.tolist()),
    ]
    for form in forms:
        assert np.array_equal(form, images)
