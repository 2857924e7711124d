"""Who is let in: rows that would not fit into the queue, or would be late, are refused at once. And whose turn it is
where some will be late none the less."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from service.errors import QueueFull, counted
from service.lanes import Begun, Lanes
from service.load import Load
from service.turns import most_in_time, rows_until

PROMISED = 0.8
"""Of the time that many rows have, what they and what takes turns with them may take, by the latest runs, for more to
be begun. Above what the engine can do all would be late together, and every run for nobody. The rest is for runs that
take longer than the latest did."""

LOOKS = 0.1
"""Seconds between two looks at whether all that is under way is in time."""

ORDERING = 0.05
"""Share of the time that may go into the order of parts."""


@dataclass(frozen=True)
class Limits:
    """Rows are counted, not callers."""

    max_rows: int = 256
    """rows of one run; 64 at most unless it is told that runs are short"""
    max_wait: float = 0.0
    """seconds the oldest of several waiting callers waits for more, at most half of the time they have; a caller alone
    never does"""
    max_queue: int = 4096
    """rows that wait; beyond, callers are refused"""
    max_delay: float = inf
    """seconds that a single row may have to wait, as far as the latest runs tell; beyond, it is refused"""
    max_overload_delay: float = inf
    """the same while many are refused anyway: waiting longer would get no more of them answered. The rows of a small
    run may wait however long they take"""


class Admission:
    """To one queue, `waiting`."""

    def __init__(self, limits: Limits, waiting: Lanes, part_rows: int) -> None:
        self.load = Load()
        self.part_rows = part_rows
        """rows at most of what one caller has in a run"""
        self.run_rows = part_rows
        """rows of a full run"""
        self.running_rows = 0
        self.begun: set[Begun] = set()
        """what is under way"""
        self.coming = 0
        """single rows that were let in and will be here in the loop's next turn"""
        self.came = 0
        """how many were let in in the turn before"""
        self._hurries, self._looks_at = False, 0.0
        """whether something under way would be late if it took turns, and when that is asked again"""
        self._orders_at = 0.0
        self._limits = limits
        self._waiting = waiting

    def admit_coming(self) -> QueueFull | None:
        """Why a single row that will be submitted in the loop's next turn would be refused then, if it would. Else it
        is counted until that turn: many requests may be parsed in one, and none of them is in the queue yet."""
        refused = self.refusal()
        if refused is None:
            if not self.coming:
                asyncio.get_running_loop().call_soon(self._has_come)
            self.coming += 1
        return refused

    def came_alone(self) -> bool:
        """Whether the caller who comes now is the only one let in in the turn before; asked once of each."""
        came, self.came = self.came, 0
        return came == 1

    def _has_come(self) -> None:
        self.came, self.coming = self.coming, 0

    def refusal(self, rows: int = 1) -> QueueFull | None:
        """Why so many rows would be refused now, if they would: asked before work is put into preparing them."""
        if not self._waiting.rows + self.coming:
            return None
        now = asyncio.get_running_loop().time()
        self.load.hear(now)
        full = self._too_many(rows) or (self._too_long() if rows == 1 else None)
        if full is not None:
            self.load.count(refused=True, now=now, rows=rows)
        return full

    def _too_many(self, rows: int) -> QueueFull | None:
        waiting = self._waiting.rows + self.coming
        # An empty lane takes any one part, however small the limit is and whatever the other one holds.
        before = self._waiting.singles + self.coming if rows == 1 else self._waiting.parts
        if waiting + rows <= self._limits.max_queue or not before:
            return None
        return QueueFull(
            f"the queue holds {counted(waiting, 'image')}; the limit is {self._limits.max_queue}"
        )

    def _too_long(self) -> QueueFull | None:
        if not self.load.worth_counting:
            return None
        before = self._waiting.rows_before_a_single(self.run_rows, self.coming)
        if before is None:
            return None
        delay = self.load.seconds(before + self.running_rows)
        limit = self.load.longest_delay(delay, self._limits.max_delay, self._limits.max_overload_delay)
        if delay <= limit:
            return None
        waiting = self._waiting.rows + self.coming
        return QueueFull(
            f"the queue holds {counted(waiting, 'image')}, {delay:.2g} s of work; the limit is {limit:.2g} s"
        )

    @contextmanager
    def begin(self, rows: int, due: int, deadline: float) -> Iterator[Begun]:
        """Counts so many rows of one request as under way. Raises QueueFull where one part of them would not fit into
        the queue, or where the first `due` of them would be late, or others for them."""
        # What would be late counts for no flood: single rows would have a short queue for it.
        refused = self.refusal(min(rows, self.part_rows)) or self._late(rows, due, deadline)
        if refused is not None:
            raise refused
        begun = Begun(rows, deadline if due == rows else inf)
        self.begun.add(begun)
        try:
            yield begun
        finally:
            self.begun.remove(begun)

    def _late(self, rows: int, due: int, deadline: float) -> QueueFull | None:
        """Why `rows` would not be begun now, if they would not: because the first `due` of them would be late, or
        something that is under way and would be in time without them."""
        if not self.begun:
            return None
        now = asyncio.get_running_loop().time()
        left = sum(one.left for one in self.begun)
        soonest = min(deadline, *(one.deadline for one in self.begun))
        if self._in_time(rows + left, soonest, now):  # none of them can take longer
            return None
        until = rows_until([one.left for one in self.begun])
        if self._in_time(due + until(due), deadline, now) and not any(
            self._in_time(its := until(one.left), one.deadline, now)
            and not self._in_time(its + min(one.left, rows), one.deadline, now)
            for one in self.begun
        ):
            return None
        return QueueFull(
            f"{counted(left, 'image')} of other requests are under way; {rows:,} more, or those, would be late"
        )

    def order_parts(self) -> None:
        """Parts take turns, each behind those that came before. Where something would be late so, by the latest runs,
        they come in an order in which as much as can be is in time: turns would make all late together, and every run
        for nobody."""
        now = asyncio.get_running_loop().time()
        if now >= self._looks_at:
            self._looks_at = now + LOOKS
            self._hurries = self._some_would_be_late(now)
        if self._hurries and now >= self._orders_at:
            self._waiting.reorder_parts(lambda parts: most_in_time(parts, self._takes, now))
            # Of a thousand it takes 2 ms, which may be as long as a run.
            self._orders_at = now + (asyncio.get_running_loop().time() - now) / ORDERING

    def _some_would_be_late(self, now: float) -> bool:
        left = [one.left for one in self.begun]
        soonest = min((one.deadline for one in self.begun), default=inf)
        if now + self._takes(sum(left)) <= soonest:  # none of them can take longer
            return False
        until = rows_until(left)
        return any(now + self._takes(until(one.left)) > one.deadline for one in self.begun)

    def _in_time(self, rows: int, deadline: float, now: float) -> bool:
        return self._takes(rows) <= PROMISED * (deadline - now)

    def _takes(self, rows: int) -> float:
        """Seconds for so many rows of parts, by the latest runs."""
        # Single rows take every second turn for as long as there are enough of them.
        singles = self._waiting.singles
        return self.load.seconds(rows + (rows if singles >= self.run_rows else min(singles, rows)))
