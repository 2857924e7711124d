"""Who shared a run that failed: each is run again by itself, so that rows that an engine cannot do fail no others."""

from collections import deque
from collections.abc import Iterator

from service.lanes import Entry

BROKEN = 8
"""Entries of a run that failed, the first of which fail by themselves, too: then the others are not tried."""


class Suspects:
    """They wait for a run by themselves, and before all others."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._failed_alone: int | None = None
        """how many of the latest did; None since one did not"""

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def rows(self) -> int:
        return sum(len(entry.rows) for entry in self._entries)

    def next(self) -> Entry:
        """Takes the first of them."""
        return self._entries.popleft()

    def blame(self, entries: list[Entry]) -> list[Entry]:
        """After a run of these that failed: those who are to be told so. Others wait here."""
        if len(entries) > 1:
            self._entries.extend(entries)
            self._failed_alone = 0
            return []
        if self._failed_alone is None:
            return entries
        self._failed_alone += 1
        if self._failed_alone < BROKEN:
            return entries
        told = [*entries, *self._entries]
        self._entries.clear()
        return told

    def acquit(self) -> None:
        """After a run that did not fail."""
        self._failed_alone = None
