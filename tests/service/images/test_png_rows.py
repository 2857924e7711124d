"""A PNG that ends before its last row is damaged, however it is stored; a black last row is none that is missing."""

import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.errors import UndecodableImage
from service.images import small_png
from service.images.decode import decode, pixels
from tests.service.images.files import MAX_PIXELS, chunk, encoded, png, seven

# depth, kind of colour, bytes of a row of 21 pixels
STORED = [
    (1, 0, 3),
    (2, 0, 6),
    (4, 0, 11),
    (8, 0, 21),
    (16, 0, 42),
    (8, 2, 63),
    (16, 2, 126),
    (8, 4, 42),
    (8, 6, 84),
]
STORED += [(1, 3, 3), (2, 3, 6), (4, 3, 11), (8, 3, 21), (16, 4, 84), (16, 6, 168)]
PALETTE = chunk(b"PLTE", bytes(range(6)))
LARGE = (21, 90)  # more than the short way takes


def stored(depth: int, colour: int, rows: bytes, size: tuple[int, int] = LARGE) -> bytes:
    return png(*size, *[PALETTE] * (colour == 3), depth=depth, colour=colour, rows=rows)


def is_damaged(data: bytes) -> bool:
    try:
        decode(data, max_pixels=MAX_PIXELS)
    except UndecodableImage as problem:
        return problem.detail == "the PNG cannot be decoded: its pixels end before its last row"
    return False


@pytest.mark.parametrize(("depth", "colour", "row"), STORED)
def test_missing_rows_are_damage_and_black_ones_are_not(depth: int, colour: int, row: int) -> None:
    rows = bytes(LARGE[1] * (1 + row))
    assert not is_damaged(stored(depth, colour, rows))
    assert is_damaged(stored(depth, colour, rows[: -(1 + row)]))


def interlaced(image: NDArray[np.uint8]) -> list[bytes]:
    """The rows of the seven pictures that are stored of a grey one."""
    parts = [image[0::8, 0::8], image[0::8, 4::8], image[4::8, 0::4], image[0::4, 2::4], image[2::4, 0::2]]
    parts += [image[0::2, 1::2], image[1::2, 0::1]]
    return [b"\0" + row.tobytes() for part in parts if part.size for row in part]


@pytest.mark.parametrize("size", [(21, 90), (21, 91), (4, 100), (2, 1), (3, 2), (100, 1)])
def test_of_an_interlaced_picture_every_pass_must_be_there(size: tuple[int, int]) -> None:
    width, height = size
    image = np.random.default_rng(0).integers(1, 256, (height, width), dtype=np.uint8)
    rows = interlaced(image)
    whole = decode(png(*size, rows=b"".join(rows), interlaced=True), max_pixels=MAX_PIXELS)
    assert (pixels(whole.image) == image).all()
    assert is_damaged(png(*size, rows=b"".join(rows[:-1]), interlaced=True))


@pytest.mark.parametrize("size", [(8, 8), LARGE])
@pytest.mark.parametrize("shade", [0, 171, 255])
def test_a_last_row_of_one_shade_is_a_row(size: tuple[int, int], shade: int) -> None:
    image = Image.new("L", size, shade)
    assert (pixels(decode(encoded(image), max_pixels=MAX_PIXELS).image) == shade).all()
    short = small_png.read(encoded(image))
    assert short is None or (short == shade).all()


def test_pixels_may_come_in_many_chunks_and_of_more_than_is_inflated_at_once() -> None:
    width, height = 700, 600
    stream = zlib.compress(bytes(height * (1 + width)))
    whole = png(width, height, stream=stream)
    head, end = whole[:33], whole[-12:]

    def in_pieces(stream: bytes) -> bytes:
        return head + b"".join(chunk(b"IDAT", stream[at : at + 50]) for at in range(0, len(stream), 50)) + end

    assert not is_damaged(in_pieces(stream))
    assert is_damaged(in_pieces(zlib.compress(bytes((height - 1) * (1 + width)))))


def flipped(data: bytes) -> bytes:
    """In the middle of the pixels, which inflate none the less."""
    at = data.index(b"IDAT") + 4
    level_0 = zlib.compress(zlib.decompress(data[at : data.index(b"IEND") - 8]), 0)
    whole = data[: at - 8] + chunk(b"IDAT", level_0) + data[-12:]
    return whole[: at + 400] + bytes([whole[at + 400] ^ 1]) + whole[at + 401 :]


@pytest.mark.parametrize("scale", [1, 4])
def test_pixels_with_another_checksum_are_damage(scale: int) -> None:
    picture = seven().resize((28 * scale, 28 * scale))
    with pytest.raises(UndecodableImage, match="its pixels are not those that its checksum is of"):
        decode(flipped(encoded(picture)), max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("size", [(28, 28), LARGE])
@pytest.mark.parametrize("more", [1, 29, 200_000])
def test_what_follows_the_last_row_is_not_looked_at(size: tuple[int, int], more: int) -> None:
    width, height = size
    image = np.zeros((height, width), np.uint8)
    image[: height // 2] = 90
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    stream = zlib.compress(rows + bytes(more))[:-4] + b"none"  # instead of the checksum of all
    shown = decode(png(*size, stream=stream), max_pixels=MAX_PIXELS)
    assert (pixels(shown.image) == image).all()
