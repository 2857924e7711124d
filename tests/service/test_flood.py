import asyncio

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.flood import ENOUGH, Porch, Rests, is_whole, request_line

LINE = b"POST /predict/mnist HTTP/1.1"


def request(*headers: bytes, body: bytes = b"12345") -> bytes:
    return b"\r\n".join([LINE, b"Host: service", *headers, b"", b""]) + body


@pytest.mark.parametrize(
    "data",
    [
        request(b"Content-Length: 5"),
        request(b"content-length:5", b"Connection: Keep-Alive", b"X-Expect: expect: transfer-encoding"),
        request(b"CONTENT-LENGTH: \t5 ", b"Content-Type: image/png"),
        request(b"Content-Length: 9", body=b"1\r\n\r\n2345"),
    ],
)
def test_a_usual_request_that_is_there_as_a_whole(data: bytes) -> None:
    assert is_whole(data)
    assert request_line(data) == LINE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        LINE,
        request(),
        request(b"Content-Length: 6"),  # not all of it is there
        request(b"Content-Length: 4"),  # there is more than one request
        request(b"Content-Length: 5")[:20],
        request(b"Content-Length: 5", b"Content-Length: 5"),
        request(b"Content-Length: 5", b"Content-Length: 6", body=b"123456"),
        request(b"Content-Length: +5"),
        request(b"Content-Length : 5"),
        request(b"Content-Length: 5", b"Content-Length : 6"),
        request(b"X: \r\n Content-Length: 5", body=b""),
        request(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        request(b"Content-Length: 5", b"transfer-encoding : chunked"),
        request(b"Content-Length: 5", b"Expect: 100-continue"),
        request(b"Content-Length: 5", b"Connection: close"),
        request(b"Content-Length: 5", b"Connection: keep-alive, upgrade"),
        request(b"Content-Length: 5", b"X: y\nTransfer-Encoding: chunked"),
        request(b"Content-Length: 5", b"Proxy-Connection: close"),
        request(b"Content-Length: 5", b"X: y\rTransfer-Encoding: chunked"),
        request(b"Content-Length: 5", b"X: y\r\n folded"),
        request(b"Content-Length: 5", b"X: \0"),
        request(b"Content-Length: 5", b"X Y: z"),
    ],
)
def test_whatever_is_unusual_is_for_a_real_parser(data: bytes) -> None:
    assert not is_whole(data)


class Messages:
    """Counts what httptools makes of a request."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.begun = self.complete = 0
        self.body = b""
        self.goes_on = True

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1
        self.goes_on &= self.parser.should_keep_alive() and not self.parser.should_upgrade()


NAMES = st.sampled_from(
    [
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"Proxy-Connection",
        b"Upgrade",
        b"X",
        b"X Y",
        b"",
    ]
)
VALUES = st.sampled_from(
    [
        b"5",
        b"0",
        b"chunked",
        b"close",
        b"keep-alive",
        b"x\r\n 5",
        b"x\n5",
        b"x\r5",
        b"\0",
        b"\x7f",
        b"\xff",
        b"",
    ]
)
HEADERS = st.tuples(NAMES, st.sampled_from([b":", b": ", b" : "]), VALUES)
BODIES = st.sampled_from([b"12345", b"", b"0\r\n\r\n", request(b"Content-Length: 5")])


@given(st.lists(HEADERS, max_size=2), BODIES, st.booleans())
def test_what_is_taken_for_whole_is_one_message_to_the_parser_and_keeps_the_connection(
    headers: list[tuple[bytes, bytes, bytes]], body: bytes, last: bool
) -> None:
    lines = [b"".join(header) for header in headers]
    lines.insert(len(lines) if last else 0, b"Content-Length: %d" % len(body))
    data = request(*lines, body=body)
    if not is_whole(data):
        return
    messages = Messages()
    messages.parser.feed_data(data)  # raises for what it would refuse
    assert (messages.begun, messages.complete, messages.body) == (1, 1, body)
    assert messages.goes_on


class Visitor:
    """Notes when it is settled."""

    def __init__(self, name: str, settled: list[str]) -> None:
        self.name, self.settled = name, settled

    def settle(self) -> None:
        self.settled.append(self.name)


async def test_those_of_a_turn_are_settled_after_it_the_latest_first() -> None:
    loop, porch, settled = asyncio.get_running_loop(), Porch(), list[str]()
    for turn in ("abc", "d"):
        for name in turn:
            porch.hold(Visitor(name, settled), loop)
        before = list(settled)
        await asyncio.sleep(0)
        assert settled[len(before) :] == list(reversed(turn))
    assert settled == ["c", "b", "a", "d"]


async def test_who_was_not_heard_for_a_while_comes_after_all_others_of_a_turn() -> None:
    loop, porch, settled = asyncio.get_running_loop(), Porch(), list[str]()
    for name in "aBcD":
        porch.hold(Visitor(name, settled), loop, rested=name.isupper())
    await asyncio.sleep(0)
    assert settled == ["c", "a", "D", "B"]


async def test_who_was_refused_too_often_is_heard_again_when_the_period_is_over() -> None:
    loop, rests, heard = asyncio.get_running_loop(), Rests(), asyncio.Event()
    for _ in range(2):
        assert not any(rests.is_enough(loop, 0.0) for _ in range(ENOUGH))
        assert rests.is_enough(loop, 0.0)
        rests.rest(heard.set)
        assert not heard.is_set()
        await heard.wait()
        heard.clear()
