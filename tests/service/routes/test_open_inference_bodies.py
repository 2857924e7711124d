"""Bodies of /v2 as HTTP has them."""

import gzip
import threading
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from fastapi import Request

from service.errors import InvalidParameter, NotReady, TooManyBytes
from service.routes.open_inference_bodies import MEMBERS, RATIO, SLACK, header_length, inflate, unpack

PIXELS = np.array([0, 1, 2, 127, 254, 255] * 2, np.uint8).reshape(2, 2, 3, 1)


def with_encoding(encoding: bytes) -> Request:
    return Request({"type": "http", "headers": [(b"content-encoding", encoding)]})


@pytest.mark.parametrize("encoding", [b"gzip", b"x-gzip", b"GZIP", b" gzip ", b"X-GZip"])
async def test_gzip_may_be_written_in_several_ways(encoding: bytes) -> None:
    assert await unpack(with_encoding(encoding), gzip.compress(b"pixels"), 100) == (b"pixels", None)


@pytest.mark.parametrize("encoding", [b"", b"identity", b" Identity "])
async def test_a_body_may_be_said_to_be_as_it_is(encoding: bytes) -> None:
    assert await unpack(with_encoding(encoding), b"pixels", 100) == (b"pixels", None)


async def test_where_no_thread_can_be_had_for_it_the_client_may_come_again() -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(NotReady):
            await unpack(with_encoding(b"gzip"), gzip.compress(b"pixels"), 100)


@pytest.mark.parametrize("value", ["-1", "+1", "101", "1.0", "ten", "", "9" * 400, "9" * 5000, "²", "0x10"])
def test_a_length_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(InvalidParameter, match="from 0 to the body's 100"):
        header_length(value, 100)


def test_a_length_of_json_goes_from_0_to_the_whole_body() -> None:
    assert [header_length(value, 100) for value in (None, "0", "100")] == [None, 0, 100]


@pytest.mark.parametrize(("encoding", "squeeze"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
class TestInflate:
    def test_gives_what_was_compressed(self, encoding: str, squeeze: Callable[[bytes], bytes]) -> None:
        assert inflate(squeeze(PIXELS.tobytes()), encoding, 12) == PIXELS.tobytes()

    def test_stops_at_the_limit(self, encoding: str, squeeze: Callable[[bytes], bytes]) -> None:
        with pytest.raises(TooManyBytes, match="inflate to more than 11"):
            inflate(squeeze(PIXELS.tobytes()), encoding, 11)

    def test_stops_where_no_picture_would_be_so_small(
        self, encoding: str, squeeze: Callable[[bytes], bytes]
    ) -> None:
        body = squeeze(bytes(50_000_000))
        tracemalloc.start()
        try:
            with pytest.raises(TooManyBytes):
                inflate(body, encoding, 64_000_000)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()

    def test_takes_what_is_as_plain_as_pictures_and_numbers_are(
        self, encoding: str, squeeze: Callable[[bytes], bytes]
    ) -> None:
        plain = np.random.default_rng(0).bytes(50_000) + bytes(4_000_000)
        body = squeeze(plain)
        assert RATIO / 2 < (len(plain) - SLACK) / len(body) < RATIO
        assert inflate(body, encoding, 64_000_000) == plain

    def test_refuses_what_is_damaged(self, encoding: str, squeeze: Callable[[bytes], bytes]) -> None:
        whole = squeeze(bytes(100))
        for body in (b"", b"hello", whole[:-1], whole + b"x", whole[:5] + b"\xff" * 5):
            with pytest.raises(InvalidParameter, match=encoding):
                inflate(body, encoding, 1000)


def test_gzip_may_be_a_series() -> None:
    """RFC 1952, section 2.2: what `cat a.gz b.gz` gives. The bounds are those of all together."""
    parts = [b"", PIXELS.tobytes(), b"", PIXELS.tobytes()]
    body = b"".join(map(gzip.compress, parts))
    assert inflate(body, "gzip", 24) == b"".join(parts)
    with pytest.raises(TooManyBytes, match="inflate to more than 23"):
        inflate(body, "gzip", 23)
    for rest in (b"x", gzip.compress(b"x")[:-1], b"\x1f\x8b", bytes(8)):
        with pytest.raises(InvalidParameter, match="gzip"):
            inflate(body + rest, "gzip", 1000)


def test_a_series_of_gzip_may_not_be_endless() -> None:
    """What follows is copied with each of them: of millions it would be so many times as much."""
    one = gzip.compress(b"x")
    assert inflate(one * MEMBERS, "gzip", 1000) == b"x" * MEMBERS
    with pytest.raises(InvalidParameter, match="bytes are left over"):
        inflate(one * (MEMBERS + 1), "gzip", 1000)


def test_another_content_encoding_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="gzip, deflate or none is expected"):
        inflate(b"", "br", 10)
