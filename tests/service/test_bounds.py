"""What a client may have a connection keep has a bound, and the others notice nothing of it."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest

from service.bounds import MOST_HEAD, MOST_WAITING
from tests.service.test_overload import URL
from tests.service.test_patience import ask, connect_reluctantly, everything, only, until_unread
from tests.service.test_protocol import IMAGE, Full, answer, chunked, full, request

__all__ = ["full"]  # the fixture

GET = b"GET /health/live HTTP/1.1\r\nHost: service\r\n"
PIECE = 10_000
LONG = b"x" * (MOST_HEAD + 600_000)  # the parser keeps what it has of a field to itself
LINES = b"a: b\r\n" * (len(LONG) // 2)  # of which a name and a value are two bytes
CUT_OFF = chunked([])[: -len(b"\r\n")]  # trailers may come
TOO_LONG = [
    GET[:-2] + b"\r\nx: " + LONG,
    GET + LONG,
    GET + LINES,
    GET[: GET.index(b" HTTP")] + b"?" + LONG,
    CUT_OFF + LINES,
    CUT_OFF + b"x: " + LONG,
    chunked([])[: chunked([]).index(b"\r\n\r\n")] + b"\r\n\r\n5;" + LONG,
]


def pieces(data: bytes) -> list[bytes]:
    return [data[at : at + PIECE] for at in range(0, len(data), PIECE)]


@pytest.mark.parametrize("before", [b"", GET + b"\r\n"])
@pytest.mark.parametrize("data", TOO_LONG, ids=lambda data: data[-20:].decode())
async def test_a_head_without_end_is_refused(full: Full, data: bytes, before: bytes) -> None:
    await full.make_room()
    reader, writer = await full.connect()
    for piece in pieces(before + data):
        writer.write(piece)
        await writer.drain()
    if before:
        assert (await answer(reader))[0] == 200
    status, headers, body = await answer(reader)
    assert (status, headers["connection"], headers["content-type"]) == (
        431,
        "close",
        "application/problem+json",
    )
    assert json.loads(body)["type"] == "/problems/head-too-long"
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("size", [MOST_HEAD - 200, MOST_HEAD + 1])
@pytest.mark.parametrize("cut", [[], [10], [100, 40_000], [64_000]])
async def test_it_does_not_matter_how_a_long_head_was_cut(full: Full, cut: Sequence[int], size: int) -> None:
    reader, writer = await full.connect()
    writer.write(GET + b"\r\n")
    await answer(reader)
    data = GET + b"Cookie: " + b"c" * size + b"\r\n\r\n"
    ends = [0, *cut, len(data)]
    connection = only(full)
    for start, end in pairwise(ends):
        connection.data_received(data[start:end])
    assert (await answer(reader))[0] == (200 if size < MOST_HEAD else 431)
    writer.close()


async def test_a_head_is_refused_as_soon_as_it_is_too_long_and_not_when_it_ends(full: Full) -> None:
    """Its first piece counts too, or every connection could keep two."""
    reader, writer = await full.connect()
    writer.write(GET + b"\r\n")
    await answer(reader)
    connection = only(full)
    connection.data_received(GET + b"x: " + b"x" * (MOST_HEAD - 1000) + b"\r\nx: y\r\nx: ")
    assert not connection._deaf
    connection.data_received(b"y" * 1000)
    assert connection._deaf
    assert (await answer(reader))[0] == 431
    writer.close()


async def test_many_short_requests_in_one_piece_are_no_long_one(full: Full) -> None:
    reader, writer = await full.connect()
    writer.write(GET + b"\r\n")
    await answer(reader)
    count = 2 * MOST_HEAD // len(GET)
    only(full).data_received((GET + b"\r\n") * count + GET)
    for _ in range(count):
        assert (await answer(reader))[0] == 200
    writer.write(b"\r\n")
    assert (await answer(reader))[0] == 200
    writer.close()


async def test_a_body_in_chunks_of_a_byte_may_be_long(full: Full) -> None:
    await full.make_room()
    reader, writer = await full.connect()
    for byte in chunked([1] * 50):
        writer.write(bytes([byte]))
        await writer.drain()
    assert (await answer(reader))[0] == 200
    body = b"".join(b"1\r\nx\r\n" for _ in range(MOST_HEAD))
    writer.write(chunked([])[: chunked([]).index(b"\r\n\r\n")] + b"\r\n\r\n" + body + b"0\r\n\r\n")
    assert (await answer(reader))[0] == 415
    writer.close()


async def test_of_who_reads_no_answers_no_more_is_read(full: Full) -> None:
    reader, writer = await full.connect()
    await full.hold(writer)
    connection = only(full)
    writer.write(request() * MOST_WAITING)
    while len(connection.pipeline) < MOST_WAITING:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    connection.flow.resume_reading()
    assert not connection.flow.read_paused  # or nobody would hear that it leaves
    connection.data_received(request() * 2)
    assert connection.flow.read_paused
    connection.flow.resume_reading()
    assert connection.flow.read_paused
    full.engine.go.set()
    for _ in range(1 + MOST_WAITING + 2):
        assert (await answer(reader))[0] == 200
    assert not connection.flow.read_paused
    writer.close()


async def test_what_waited_of_a_client_that_has_left_is_let_go(full: Full) -> None:
    _, writer = await full.connect()
    await full.hold(writer)
    connection = only(full)
    writer.write(request() * 3)
    while len(connection.pipeline) < 3:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    writer.transport.abort()
    connection.flow.resume_reading()
    while full.server.server_state.connections:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    assert not connection.pipeline
    full.engine.go.set()


def trailed(*fields: str, content_type: str = "image/png") -> Iterable[bytes]:
    """A request's head and body, and what comes after."""
    whole = chunked([]).replace(b"image/png", content_type.encode())
    return whole[: -len(b"\r\n")], "".join(f"{field}\r\n" for field in fields).encode() + b"\r\n"


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("field", "content_type", "expected"),
    [
        ("Content-Type: text/plain", "image/png", 200),
        ("Content-Type: image/png", "text/plain", 415),
        ("Content-Encoding: gzip", "image/png", 200),
    ],
)
async def test_what_comes_after_the_body_is_no_header(
    full: Full, field: str, content_type: str, expected: int, *, at_once: bool
) -> None:
    await full.make_room()
    reader, writer = await full.connect()
    writer.write(GET + b"\r\n")
    await answer(reader)
    body, rest = trailed(field, content_type=content_type)
    connection = only(full)
    for piece in [body + rest] if at_once else [body, rest]:
        connection.data_received(piece)
    assert (await answer(reader))[0] == expected
    writer.write(GET + b"\r\n")
    assert (await answer(reader))[0] == 200
    writer.close()


@pytest.mark.parametrize(("version", "told"), [("1.0", False), ("1.1", True)])
async def test_who_knows_no_answer_before_the_answer_gets_none(
    full: Full, version: str, *, told: bool
) -> None:
    await full.make_room()
    reader, writer = await full.connect()
    writer.write(request("Expect: 100-continue").replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1)[:-5])
    if told:
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(IMAGE[-5:])
    assert (await answer(reader))[0] == 200
    writer.close()


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("more", ["Content-Length: 5\r\n\r\nhello", "\r\n", "\r\ntunnelled \0 bytes"])
@pytest.mark.parametrize("target", ["/", URL, "/nothing?x=1"])
async def test_nobody_is_connected_to_another_host(full: Full, target: str, more: str, before: int) -> None:
    reader, writer = await full.connect()
    writer.write((GET + b"\r\n") * before + f"CONNECT {target} HTTP/1.1\r\nHost: service\r\n{more}".encode())
    for _ in range(before):
        assert (await answer(reader))[0] == 200
    status, headers, _ = await answer(reader)
    assert (status, headers["connection"]) == (404 if target.startswith("/nothing") else 405, "close")
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("before", [1, 3])
async def test_of_a_request_that_ends_as_none_those_before_it_are_answered_first(
    full: Full, before: int
) -> None:
    reader, writer = await full.connect()
    await full.hold(writer)
    connection = only(full)
    nonsense = CUT_OFF[: CUT_OFF.index(b"\r\n\r\n")] + b"\r\n\r\nnonsense\r\n"
    writer.write(request() * (before - 1) + nonsense)
    while connection._last_word is None:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    full.engine.go.set()
    for _ in range(before):
        assert (await answer(reader))[0] == 200
    status, headers, body = await answer(reader)
    assert (status, headers["connection"]) == (400, "close")
    assert json.loads(body)["type"] == "/problems/not-http"
    assert await reader.read() == b""
    writer.close()


async def test_nothing_is_heard_after_what_is_refused_while_those_before_it_wait(full: Full) -> None:
    reader, writer = await full.connect()
    await full.hold(writer)
    connection = only(full)
    empty = f"POST {URL} HTTP/1.1\r\nHost: service\r\nContent-Length: 0\r\n\r\n".encode()
    head = CUT_OFF[: CUT_OFF.index(b"\r\n\r\n")] + b"\r\n\r\n"
    for piece in (empty + head, b"5;" + LONG[: 2 * MOST_HEAD], b"\r\nhello\r\n0\r\n\r\n" + GET + b"\r\n"):
        connection.data_received(piece)
    assert connection._last_word.status == 431
    full.engine.go.set()
    assert [(await answer(reader))[0] for _ in range(3)] == [200, 422, 431]
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("path", [URL, "/predict/mnist/batch"])
async def test_who_is_refused_while_waiting_to_be_told_to_go_on_is_told_that_only(
    full: Full, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    await full.make_room()
    reader, writer = await full.connect()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: service",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "",
        "ZZ",
    ]
    writer.write("\r\n".join([*lines, ""]).encode())
    assert (await answer(reader))[0] == 400
    assert await reader.read() == b""
    writer.close()
    assert [one for one in caplog.records if one.levelname == "ERROR"] == []
    assert await full.count(500) == 0


async def test_a_request_gets_one_answer_whatever_comes_of_its_body(full: Full) -> None:
    reader, writer = await full.connect()
    head = CUT_OFF[: CUT_OFF.index(b"\r\n\r\n")] + b"\r\n\r\n"
    writer.write(head.replace(URL.encode(), b"/nothing"))
    assert (await answer(reader))[0] == 404
    writer.write(b"ZZ\r\n")
    assert await reader.read() == b""
    writer.close()


async def test_an_answer_that_was_begun_is_cut_off_rather_than_mixed_with_another(full: Full) -> None:
    with await connect_reluctantly(full) as client:
        connection = only(full)
        asked = ask("/page/vendor/swagger-ui-bundle.js", "Transfer-Encoding: chunked")
        await asyncio.get_running_loop().sock_sendall(client, asked)
        await until_unread(connection)
        assert not connection.cycle.response_complete
        connection.data_received(b"ZZ\r\n")
        answered = await everything(client)
        assert answered.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1 400" not in answered


@pytest.mark.parametrize("path", [URL, "/nothing"])
async def test_a_connection_that_is_to_be_closed_after_all_is_closed(full: Full, path: str) -> None:
    await full.make_room()
    reader, writer = await full.connect()
    body, rest = trailed("Connection: close")
    writer.write(body.replace(URL.encode(), path.encode()))
    if path != URL:
        assert (await answer(reader))[0] == 404
    writer.write(rest)
    if path == URL:
        status, headers, _ = await answer(reader)
        assert (status, headers["connection"]) == (200, "close")
    assert await reader.read() == b""
    writer.close()
