"""What a server does with requests that an overloaded model will hardly take: it looks at them as little as it can.

Of four times what a model can do three of four requests are refused, between runs that leave every cache cold: parsing
one then takes longer than refusing it.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Protocol

ENOUGH = 32  # refusals in one period of a flood

_LINE_END = b"\r\n"
_HEAD_END = 2 * _LINE_END
# In small letters.
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n")
_UNUSUAL = re.compile(
    rb"\r\n(?:transfer-encoding|expect|upgrade|(?:proxy-)?connection(?!:[ \t]*keep-alive[ \t]*\r\n))"
)
_FIELDS = re.compile(rb"(?:\r\n[a-z0-9!#$%&'*+.^_`|~-]+:[\t\x20-\x7e\x80-\xff]*)*\r\n")
"""What a parser takes for header lines (RFC 9110, section 5.5): no folded ones, no line ends or NULs by themselves."""


def request_line(data: bytes) -> bytes:
    """The first line, without its end."""
    return data[: data.find(_LINE_END)]


def is_whole(data: bytes) -> bool:
    """Whether this is plainly one whole request with a body, and nothing after it. Its first line is known.

    Only for telling that it can be refused unread: whatever is unusual about it is for a real parser. Its length
    must be certain, or what is taken for its body might be the next request.
    """
    end = data.find(_HEAD_END)
    if end < 0:
        return False
    head = data[: end + len(_LINE_END)].lower()
    length = _LENGTH.search(head)
    return (
        length is not None
        and end + len(_HEAD_END) + int(length[1]) == len(data)
        and head.count(b"content-length") == 1
        and _FIELDS.fullmatch(head, head.find(_LINE_END)) is not None
        and not _UNUSUAL.search(head)
    )


class Held(Protocol):
    """A connection with a request that nobody has looked at."""

    def settle(self) -> None:
        """Takes it or refuses it."""


class Porch:
    """Where requests wait, unparsed, for the end of the loop's turn; then the latest have the first choice.

    Of all that an overloaded model finds waiting after a run it takes the latest: the first to come would be late
    by a run already. So would be what was not heard for a while: nobody knows since when it waits.
    """

    def __init__(self) -> None:
        self._held: list[Held] = []
        self._rested: list[Held] = []

    def hold(self, one: Held, loop: asyncio.AbstractEventLoop, *, rested: bool = False) -> None:
        """Until the end of this turn. `rested` says that it may have come while its connection was not heard."""
        if not self._held and not self._rested:
            loop.call_soon(self._settle)
        (self._rested if rested else self._held).append(one)

    def _settle(self) -> None:
        held, self._held, self._rested = [*self._rested, *self._held], [], []
        for one in reversed(held):
            one.settle()


class Rests:
    """Bounds what refusals may take: after some of them, each connection is heard once a period only.

    A period is a turn of the loop or, where a model has more to do than that, the time of a small run of it. Clients
    that ask again as soon as they are refused would take the time of those who are answered; and uvloop, which
    goes on asking for sockets to read from while there are many, up to 48 times a turn, would not end its turn for a
    second.
    """

    def __init__(self) -> None:
        self._refusals = 0
        self._resting: list[Callable[[], None]] = []

    def is_enough(self, loop: asyncio.AbstractEventLoop, period: float) -> bool:
        """Counts one more; the first of a period says how many seconds it lasts."""
        if not self._refusals:
            loop.call_later(period, self._end)
        self._refusals += 1
        return self._refusals > ENOUGH

    def rest(self, resume: Callable[[], None]) -> None:
        """Calls `resume` when the period is over."""
        self._resting.append(resume)

    def _end(self) -> None:
        self._refusals = 0
        resting, self._resting = self._resting, []
        for resume in resting:
            resume()
