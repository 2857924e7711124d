"""Whatever the bytes, the answer is an image or a Problem the client can read."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from service.errors import Problem
from service.images import Prepared, PrepareOptions, prepare
from service.manifest import InputSpec
from tests.service.images.files import encoded, every_kind, seven

DIGIT = InputSpec(height=28, width=28, channels=1)
COLOUR = InputSpec(height=32, width=32, channels=3)
SMALL = {kind: data for kind, data in every_kind().items() if len(data) < 20_000}
SMALL["PNG tiny"] = encoded(seven((28, 28), pen=2))
SMALL["GIF animated"] = encoded(seven(), "GIF", save_all=True, append_images=[seven(pen=3)])
SMALL["WEBP animated"] = encoded(
    seven((40, 40), pen=4), "WEBP", save_all=True, append_images=[seven((40, 40), pen=3)]
)
SIGNATURES = [data[:length] for data in SMALL.values() for length in (4, 12, 30)]


def prepared_or_problem(data: bytes, spec: InputSpec) -> Prepared | Problem:
    try:
        return prepare(data, spec, PrepareOptions(), max_pixels=1_000_000)
    except Problem as problem:
        return problem


def answer(data: bytes, spec: InputSpec) -> Prepared | None:
    """None where a Problem with a client's status says what is wrong."""
    answered = prepared_or_problem(data, spec)
    if isinstance(answered, Problem):
        assert 400 <= answered.status < 500
        assert answered.detail
        return None
    assert answered.image.shape == (spec.height, spec.width, spec.channels)
    return answered


@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(bytes.__add__, st.sampled_from(SIGNATURES), st.binary(max_size=400)),
    )
)
@example(b"")
@settings(max_examples=300, deadline=None)
def test_any_bytes(data: bytes) -> None:
    answer(data, DIGIT)
    answer(data, COLOUR)


@given(
    st.sampled_from(sorted(SMALL)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=6)), max_size=6),
    st.floats(0, 1),
)
@settings(max_examples=400, deadline=None)
def test_damaged_files(kind: str, damages: list[tuple[float, bytes]], kept: float) -> None:
    data = bytearray(SMALL[kind])
    for place, wrong in damages:
        start = int(place * len(data))
        data[start : start + len(wrong)] = wrong
    answer(bytes(data[: max(1, int((0.5 + kept) * len(data)))]), DIGIT)


@given(st.sampled_from(sorted(SMALL)), st.integers(0, 60), st.integers(0, 255))
@settings(max_examples=400, deadline=None)
def test_damaged_headers(kind: str, place: int, wrong: int) -> None:
    data = bytearray(SMALL[kind])
    data[place] = wrong
    answer(bytes(data), COLOUR)


@given(
    st.tuples(st.integers(1, 16), st.integers(1, 16)),
    st.integers(0, 255),
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15), st.integers(0, 255)), min_size=1, max_size=6),
)
@example((5, 14), 181, [(1, 0, 37), (3, 8, 209), (2, 12, 109)])
@settings(max_examples=400, deadline=None)
def test_any_few_pixels(size: tuple[int, int], ground: int, marks: list[tuple[int, int, int]]) -> None:
    picture = Image.new("L", size, ground)
    for x, y, shade in marks:
        picture.putpixel((x % size[0], y % size[1]), shade)
    answer(encoded(picture), DIGIT)


def test_undamaged_files_are_answered() -> None:
    refused = [
        kind for kind, data in SMALL.items() if answer(data, DIGIT) is None or answer(data, COLOUR) is None
    ]
    assert refused == []
