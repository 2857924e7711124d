"""In which turn of the event loop something happened, so that tests of who gets a turn need no clock."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class LoopTurns:
    """Counts the loop's turns; notes those in which it is told to."""

    def __init__(self) -> None:
        self._now, self._ended = 0, False
        self._noted = list[int]()

    def note(self) -> None:
        """This turn."""
        self._noted.append(self._now)

    @property
    def noted(self) -> list[int]:
        """Counted from the first of them."""
        return [turn - self._noted[0] for turn in self._noted]

    @contextmanager
    def counted(self) -> Iterator[None]:
        """While the block runs."""
        self._count()
        try:
            yield
        finally:
            self._ended = True

    def _count(self) -> None:
        self._now += 1
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._count)
