"""What a server does with requests that an overloaded model will hardly take: it looks at them as little as it can.

Of four times what a model can do three of four requests are refused, between runs that leave every cache cold: parsing
one then takes longer than refusing it.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from fastapi import Response

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


class Refusal:
    """What requests are refused with."""

    __slots__ = ("count_alike", "response", "rest", "written")

    def __init__(self, response: Response, rest: float, count_alike: Callable[[int], None]) -> None:
        self.response = response
        self.rest = rest
        """seconds for which the client need not be heard again"""
        self.count_alike = count_alike
        """to be told how many more were refused with it"""
        self.written: bytes | None = None
        """the response as it is sent, for whoever sends it to others in the same turn"""


class Held(Protocol):
    """A connection with a whole request that is not parsed yet."""

    def waits(self) -> bool:
        """Whether it still has that request, and somebody to answer."""

    def take(self) -> None:
        """Lets it be parsed, and let in or refused, as any other."""

    def refuse(self, refusal: Refusal) -> None:
        """Says so."""


class Porch:
    """Where requests wait, unparsed, for the end of the loop's turn; then the latest have the first choice.

    Of all that an overloaded model finds waiting after a run it takes the latest: the first to come would be late
    by a run already. So would be what was not heard for a while: nobody knows since when it waits. Where there is no
    room nobody waits: a later turn would only find more callers.
    """

    def __init__(self, refusal: Callable[[bytes], Refusal | None]) -> None:
        """It says what a request is refused with, by its first line, if it is."""
        self._refusals = Refusals(refusal)
        self._held: list[tuple[bytes, Held]] = []
        self._rested: list[tuple[bytes, Held]] = []

    def hold(self, line: bytes, one: Held, loop: asyncio.AbstractEventLoop, *, rested: bool = False) -> None:
        """Until the end of this turn, or refuses it. `rested` says that it may have come while its connection was not
        heard."""
        if not self._refusals.are_known:
            loop.call_soon(self._settle)
        refusal = self._refusals.of(line)
        if refusal is not None:
            one.refuse(refusal)
        else:
            (self._rested if rested else self._held).append((line, one))

    def _settle(self) -> None:
        waiting, self._held, self._rested = [*self._rested, *self._held], [], []
        try:
            while waiting:
                line, one = waiting.pop()
                if not one.waits():
                    continue
                refusal = self._refusals.of(line, has_grown=True)
                if refusal is not None:
                    one.refuse(refusal)
                else:
                    one.take()
        finally:
            self._refusals.forget()
            if waiting:  # one failed, as the loop will tell
                self._held = waiting
                asyncio.get_running_loop().call_soon(self._settle)


class Refusals:
    """Of requests that come while nothing leaves a queue: between two runs of a flood nearly all are alike, and each
    question costs more than the answer. Who was refused stays so until it is forgotten."""

    def __init__(self, refusal: Callable[[bytes], Refusal | None]) -> None:
        self._refusal = refusal
        self._known: dict[bytes, Refusal | None] = {}
        """by the first line"""
        self._more: Counter[bytes] = Counter()

    @property
    def are_known(self) -> bool:
        """Whether anything is to be forgotten."""
        return bool(self._known)

    def of(self, line: bytes, *, has_grown: bool = False) -> Refusal | None:
        """What this one is refused with; asked once for all who are, and for all who are not unless a queue has grown
        meanwhile."""
        refusal = self._known.get(line)
        if refusal is not None:
            self._more[line] += 1
        elif has_grown or line not in self._known:
            refusal = self._known[line] = self._refusal(line)
        return refusal

    def forget(self) -> None:
        """Tells how many there were."""
        for line, times in self._more.items():
            refusal = self._known[line]
            if refusal is not None:
                refusal.count_alike(times)
        self._known.clear()
        self._more.clear()


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
