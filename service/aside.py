"""Threads for what nobody should have to wait behind: looking inside models, and drawing."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from service.callers import Wanted, always
from service.errands import fetch
from service.errors import DeadlinePassed, QueueFull

NICENESS = 10  # more than the loop's, of 19: predictions come first

T = TypeVar("T")


class Aside:
    """One thread at low priority, with a bound on what waits for it."""

    def __init__(self, *, max_waiting: int, name: str = "aside") -> None:
        self._max_waiting = max_waiting
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=_step_back)

    async def do(self, work: Callable[[], T], deadline: float, wanted: Wanted = always) -> T:
        """What `work` gives, by `deadline` on the loop's clock. Raises QueueFull, DeadlinePassed, NotReady
        where no thread can be started, or CallerGoneError where it is not `wanted` by the time the thread has it."""
        if self._waiting >= self._max_waiting:
            raise QueueFull(f"the queue for slower answers is full ({self._waiting} waiting)")
        self._waiting += 1
        try:
            return await fetch(self._thread, lambda _: work(), deadline, wanted, self._free)
        except TimeoutError:
            raise DeadlinePassed("it took longer than the time allowed for one request") from None

    def later(self, work: Callable[[], object]) -> None:
        """Does `work` behind all that waits, whenever that is."""
        self._thread.submit(work)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _free(self) -> None:
        self._waiting -= 1


def _step_back() -> None:
    """On Linux a thread has a priority of its own; elsewhere it would be the whole process's."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.nice(NICENESS)
