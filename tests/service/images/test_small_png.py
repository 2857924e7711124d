import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.images import small_png
from service.images.decode import decode, pixels
from tests.service.images.files import MAX_PIXELS, chunk, encoded, png

Images = NDArray[np.uint8]


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("filtering", range(5))
def test_short_way_reads_what_the_long_way_does(mode: str, filtering: int) -> None:
    channels = len(Image.new(mode, (1, 1)).getbands())
    random = np.random.default_rng(filtering)
    rows = b"".join(bytes([filtering]) + random.bytes(40 * channels) for _ in range(30))
    data = png(40, 30, colour=channels - 1, rows=rows)
    short = small_png.read(data)
    assert short is not None
    assert (short == pixels(decode(data, max_pixels=MAX_PIXELS).image).reshape(short.shape)).all()


def test_short_way_leaves_the_unusual_to_the_long_one() -> None:
    plain = png(8, 8)
    assert small_png.read(plain) is not None
    for data in (
        plain[:29] + bytes([plain[29] ^ 1]) + plain[30:],
        png(8, 8, chunk(b"tRNS", b"\0\0")),
        png(8, 8, depth=16, rows=bytes(8 * 17)),
        png(65, 8),
        png(8, 8, rows=bytes(40)),
        png(8, 8, rows=bytes(7 * 9)),
        png(8, 8, colour=2, rows=bytes(7 * 25)),
        plain[:-1],
        plain.replace(b"IDAT", b"IDAt"),
        plain[:45] + bytes([plain[45] ^ 1]) + plain[46:],
        b"",
    ):
        assert small_png.read(data) is None


def test_short_way_reads_nothing_of_a_damaged_stream_that_the_long_way_does_not(mnist: Images) -> None:
    random = np.random.default_rng(1)
    whole = encoded(mnist[0])
    stream = whole[whole.index(b"IDAT") + 4 : -16]
    read = []
    for _ in range(300):
        damaged = bytearray(stream[: len(stream) - random.integers(0, 8)])
        damaged[random.integers(len(damaged))] ^= 1 << random.integers(8)
        data = png(28, 28, stream=bytes(damaged))
        short = small_png.read(data)
        read.append(short is not None)
        if short is not None:
            assert (short[..., 0] == pixels(decode(data, max_pixels=MAX_PIXELS).image)).all()
    assert {*read} == {True, False}


def test_short_way_takes_no_checksum_of_a_large_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_of: list[int] = []

    def checksum(data: bytes) -> int:
        taken_of.append(len(data))
        return zlib.crc32(data)

    random = np.random.default_rng(0)
    large = png(400, 50, rows=b"".join(b"\0" + random.bytes(400) for _ in range(50)))
    plain = png(8, 6)
    monkeypatch.setattr(small_png, "zlib", SimpleNamespace(crc32=checksum))
    assert small_png.read(large) is None
    assert small_png.read_each([large, plain], (6, 8, 1))[0] == [1]
    assert max(taken_of) < len(plain) < len(large)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_many_are_read_as_each_is_whatever_stands_beside_them(mode: str) -> None:
    channels = len(Image.new(mode, (1, 1)).getbands())
    random = np.random.default_rng(0)
    whole = [
        png(
            8,
            6,
            colour=channels - 1,
            rows=b"".join(bytes([filtering]) + random.bytes(8 * channels) for _ in range(6)),
        )
        for filtering in range(5)
    ]
    row = b"\0" + b"\xff" * 8 * channels
    short, cut, long = (
        png(8, 6, colour=channels - 1, rows=rows) for rows in (row * 3, row * 3 + row[:4], row * 9)
    )
    wrong_filter = png(8, 6, colour=channels - 1, rows=b"\t" + bytes(6 * (1 + 8 * channels) - 1))
    others = [cut, png(8, 8), b"", long, wrong_filter, png(6, 8, colour=channels - 1)]
    files = [one for pair in zip([*whole, whole[0]], others, strict=True) for one in pair]
    files += [long, short, cut, long]
    read = {at: image for at, data in enumerate(files) if (image := small_png.read(data)) is not None}
    expected = {at: image for at, image in read.items() if image.shape == (6, 8, channels)}
    places, images = small_png.read_each(files, (6, 8, channels))
    assert places == [*expected]
    assert set(places) >= {0, 2, 4, 6, 8, 10, 12, 15}
    assert (images == np.stack([*expected.values()])).all()


def test_of_many_there_may_be_none_to_read() -> None:
    for files in ([], [b"no image"], [png(8, 6, rows=bytes(5))]):
        places, images = small_png.read_each(files, (6, 8, 1))
        assert (places, images.shape) == ([], (0, 6, 8, 1))
