import asyncio
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import httptools
import pytest
from fastapi import Response
from hypothesis import given
from hypothesis import strategies as st

from service.flood import ENOUGH, Porch, Refusal, Rests, is_whole, request_line

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
        request(b"Content-Length: 1000000", body=bytes(1_000_000)),
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


class House:
    """Lets in as many as there is room for, and notes what becomes of all."""

    def __init__(self, room: int = 10) -> None:
        self.room, self.asked, self.more = room, 0, 0
        self.notes: list[str] = []
        self.refusal = Refusal(Response(), 0.0, self._count)
        self.porch = Porch(self._refusal)

    def _refusal(self, line: bytes) -> Refusal | None:
        self.asked += 1
        return None if self.room else self.refusal

    def _count(self, times: int) -> None:
        self.more += times

    def come(self, names: str, *, line: bytes = LINE) -> None:
        for name in names:
            self.porch.hold(line, Visitor(name, self), asyncio.get_running_loop(), rested=name.isupper())


class Visitor:
    """Of a house. `!` is one who fails, and `?` one who is gone."""

    def __init__(self, name: str, house: House) -> None:
        self.name, self.house = name, house

    def waits(self) -> bool:
        return self.name != "?"

    def take(self) -> None:
        if self.name == "!":
            raise RuntimeError(self.name)
        self.house.room -= 1
        self.house.notes.append(self.name)

    def refuse(self, refusal: Refusal) -> None:
        assert refusal is self.house.refusal
        self.house.notes.append(f"no {self.name}")


async def test_those_of_a_turn_are_settled_after_it_the_latest_first() -> None:
    house = House()
    for turn in ("abc", "d"):
        house.come(turn)
        before = list(house.notes)
        await asyncio.sleep(0)
        assert house.notes[len(before) :] == list(reversed(turn))
    assert house.notes == ["c", "b", "a", "d"]


async def test_who_was_not_heard_for_a_while_comes_after_all_others_of_a_turn() -> None:
    house = House()
    house.come("aBc?D")
    await asyncio.sleep(0)
    assert house.notes == ["c", "a", "D", "B"]


async def test_where_room_ends_all_others_are_refused_alike_and_counted() -> None:
    house = House(room=2)
    house.come("abcde")
    house.come("f", line=b"POST /predict/cifar10 HTTP/1.1")
    assert (house.notes, house.asked) == ([], 2)
    await asyncio.sleep(0)
    assert house.notes == ["f", "e", "no d", "no c", "no b", "no a"]
    assert (house.asked, house.more) == (2 + 3, 3)


async def test_where_there_is_no_room_nobody_waits_for_the_end_of_the_turn() -> None:
    house = House(room=0)
    house.come("abc")
    assert (house.notes, house.asked, house.more) == (["no a", "no b", "no c"], 1, 0)
    await asyncio.sleep(0)
    assert house.more == 2
    house.room = 1  # is for who comes then
    house.come("d")
    await asyncio.sleep(0)
    assert house.notes[3:] == ["d"]
    house.room = 0
    house.come("efgh")
    await asyncio.sleep(0)
    assert house.more == 2 + 3  # each is counted once


async def test_who_waited_is_refused_if_there_is_no_room_any_more() -> None:
    house = House(room=1)
    house.come("ab")
    house.room = 0  # as by others, who came before
    await asyncio.sleep(0)
    assert house.notes == ["no b", "no a"]


async def test_one_that_fails_keeps_no_other_from_its_answer() -> None:
    loop, house, told = asyncio.get_running_loop(), House(), list[str]()
    loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
    house.come("ab!c")
    for _ in range(2):
        await asyncio.sleep(0)
    assert (house.notes, told) == (["c", "b", "a"], ["!"])
    house.come("d")
    await asyncio.sleep(0)
    assert house.notes[3:] == ["d"]


async def test_who_was_refused_too_often_is_heard_again_when_the_period_is_over() -> None:
    loop, rests, heard = asyncio.get_running_loop(), Rests(), asyncio.Event()
    for _ in range(2):
        assert not any(rests.is_enough(loop, 0.0) for _ in range(ENOUGH))
        assert rests.is_enough(loop, 0.0)
        rests.rest(heard.set)
        assert not heard.is_set()
        await heard.wait()
        heard.clear()


def test_a_period_lasts_as_long_as_its_first_refusal_says_and_each_who_rests_is_told_once() -> None:
    later = list[tuple[float, Callable[[], None]]]()
    loop: Any = SimpleNamespace(call_later=lambda *call: later.append(call))
    rests, heard = Rests(), list[str]()
    for name in "ab":
        assert [rests.is_enough(loop, 0.25) for _ in range(ENOUGH + 1)].count(True) == 1
        rests.rest(partial(heard.append, name))
        [(seconds, end)] = later
        assert (seconds, name in heard) == (0.25, False)
        later.clear()
        end()
    assert heard == ["a", "b"]
