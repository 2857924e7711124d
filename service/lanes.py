"""What waits for a run: single rows in one lane, longer parts in another."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from numpy.typing import NDArray

from service.callers import Wanted

Rows = NDArray[Any]


class Begun:
    """A request for many rows, which are run part by part, in turns with the parts of others."""

    __slots__ = ("deadline", "left")

    def __init__(self, left: int, deadline: float) -> None:
        self.left = left
        """rows that are not done"""
        self.deadline = deadline
        """of all of them, on the loop's clock"""


class Entry:
    """Some rows of one caller, no more than a run may have."""

    __slots__ = ("begun", "deadline", "future", "rows", "since", "wanted")

    def __init__(
        self, rows: Rows, since: float, deadline: float, wanted: Wanted, begun: Begun | None = None
    ) -> None:
        self.rows = rows
        self.since = since
        self.deadline = deadline
        self.wanted = wanted
        self.begun = begun
        """what they are a part of"""

        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def left(self) -> int:
        """Rows that are to be done by its deadline: of some requests all, of others each part for itself."""
        if self.begun is not None and self.begun.deadline == self.deadline:
            return self.begun.left
        return len(self.rows)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Lanes:
    """Two queues that take turns at the head of a run: many images of one caller keep no single one from its
    answer for longer than a run, nor the other way round."""

    def __init__(self) -> None:
        self._singles: deque[Entry] = deque()
        self._parts: deque[Entry] = deque()
        self._singles_first = True
        self.rows = 0
        """in both lanes"""

    def __len__(self) -> int:
        return len(self._singles) + len(self._parts)

    @property
    def singles(self) -> int:
        """Entries of one row."""
        return len(self._singles)

    @property
    def parts(self) -> int:
        """Entries of several rows."""
        return len(self._parts)

    def __iter__(self) -> Iterator[Entry]:
        yield from self._singles
        yield from self._parts

    def rows_before_a_single(self, run: int, coming: int = 0) -> int | None:
        """Rows that are run before a single row that comes now, in runs of `run`; None if its lane is empty.

        `coming` is how many singles more will have been put before it.
        """
        singles = len(self._singles) + coming
        return singles + min(self.rows + coming - singles, singles + run) if singles else None

    def append(self, entry: Entry) -> None:
        (self._singles if len(entry.rows) == 1 else self._parts).append(entry)
        self.rows += len(entry.rows)

    def reorder_parts(self, order: Callable[[Iterable[Entry]], Iterable[Entry]]) -> None:
        """Parts that wait are run in the order that it gives, and those that come behind them."""
        self._parts = deque(order(self._parts))

    def take(self, room: int, admit: Callable[[Entry], bool]) -> list[Entry]:
        """The entries of the next run, at most `room` rows; those that `admit` declines are dropped."""
        lanes = (self._singles, self._parts) if self._singles_first else (self._parts, self._singles)
        self._singles_first = not self._singles_first
        taken: list[Entry] = []
        for lane in lanes:
            while lane and len(lane[0].rows) <= room:
                entry = lane.popleft()
                self.rows -= len(entry.rows)
                if admit(entry):
                    room -= len(entry.rows)
                    taken.append(entry)
        return taken

    def clear(self) -> None:
        self._singles.clear()
        self._parts.clear()
        self.rows = 0
