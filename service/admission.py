"""Who is let in: rows that would not fit into the queue, or would be late, are refused at once."""

import asyncio
from dataclasses import dataclass

from service.errors import QueueFull, counted
from service.lanes import Lanes
from service.load import Load

PROMISED = 0.5
"""Of the time that many rows have, what they and those of all others under way may take for them to be begun. They are
run part by part in turns, so that all would be late together where too many are: the engine would work for nobody. The
rest is for single rows, and for parts that take longer than the latest did."""


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
    max_delay: float = float("inf")
    """seconds that a single row may have to wait, as far as the latest runs tell; beyond, it is refused"""
    max_overload_delay: float = float("inf")
    """the same while many are refused anyway: waiting longer would get no more of them answered. The rows of a small
    run may wait however long they take"""


class Admission:
    """To one queue, `waiting`, whose runs are of `run_rows`."""

    def __init__(self, limits: Limits, waiting: Lanes, run_rows: int) -> None:
        self.load = Load()
        self.run_rows = run_rows
        """rows of a full run"""
        self.running_rows = 0
        self.begun = 0
        """rows of all long submissions under way, those that are done of them too"""
        self.coming = 0
        """single rows that were let in and will be here in the loop's next turn"""
        self.came = 0
        """how many were let in in the turn before"""
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

    def refuse_what_would_be_late(self, rows: int, deadline: float) -> None:
        """For many rows, whose parts take turns with those of others. Raises QueueFull.

        All rows of the others count, not only what is left of them: as many again may be run while these are.
        """
        if not self.begun:
            return
        work = self.begun + rows
        # Single rows take every second turn for as long as there are enough of them.
        singles = self._waiting.singles
        work += work if singles >= self.run_rows else min(singles, work)
        delay = self.load.seconds(work)
        limit = PROMISED * (deadline - asyncio.get_running_loop().time())
        if delay > limit:
            raise QueueFull(
                f"{counted(self.begun, 'image')} of other requests are under way; with {rows:,} more there would be "
                f"{delay:.2g} s of work, and the limit is {limit:.2g} s"
            )
