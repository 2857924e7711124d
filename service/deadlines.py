"""Ends the wait of those whose time is over."""

import asyncio
from collections.abc import Callable, Iterable

from service.errors import DeadlinePassed
from service.lanes import Entry


class Deadlines:
    """One timer for all: it is set for the earliest deadline, not for every row."""

    def __init__(self, entries: Callable[[], Iterable[Entry]]) -> None:
        """`entries` gives all that wait, for a run or for its end."""
        self._entries = entries
        self._alarm: asyncio.TimerHandle | None = None

    def watch(self, deadline: float) -> None:
        """On the loop's clock; infinity is never over."""
        if deadline == float("inf") or (self._alarm is not None and self._alarm.when() <= deadline):
            return
        self.stop()
        self._alarm = asyncio.get_running_loop().call_at(deadline, self._expire)

    def stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _expire(self) -> None:
        self._alarm = None
        now = asyncio.get_running_loop().time()
        left = [entry for entry in self._entries() if not entry.future.done()]
        for entry in left:
            if entry.deadline <= now:
                entry.fail(DeadlinePassed("the answer was not ready within the time allowed for one request"))
        alive = [entry.deadline for entry in left if entry.deadline > now]
        if alive:
            self.watch(min(alive))
