"""Gathers rows of many callers into few runs. asyncio only; knows neither what runs them nor that a row is an image
(but for the words in which callers are refused).

A run starts as soon as the engine is idle: callers that arrive in the same turn of the event loop, or while
a run is on, share the next one, so batches grow with the load and one caller alone never waits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from time import perf_counter
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.admission import Admission, Limits
from service.callers import CallerGoneError, Wanted, always
from service.deadlines import Deadlines
from service.errors import DeadlinePassed, NotReady, counted
from service.lanes import Begun, Entry, Lanes, Rows
from service.suspects import Suspects

USUAL_ROWS = 64
"""Of a run, and of a part of many rows: more only make it longer, and others wait for it, unless it takes hardly any
time."""

LONGEST_TURN = 0.005
"""Seconds that runs may have of one turn of the loop, and one run more. Full runs in a row share what it costs to come
back to them from answers and requests, which leave every cache cold; whoever else needs the loop waits for them."""

Results = TypeVar("Results", bound=NDArray[Any] | Sequence[Any])


class RunError(Exception):
    """A run of these rows alone failed, or so many of others that it was not tried; `__cause__` says why."""


class Batcher(Generic[Results]):
    """`run` is given rows [n,…], n ≤ max_rows, and must give n results in the same order.

    It may be awaiting a thread: the batcher starts no second run before the first is back, and never blocks.
    `at_once` is asked for the results first, without awaiting anything; None where that would block for too long.
    `observe` is told the number of rows of every run.
    """

    def __init__(
        self,
        run: Callable[[Rows], Awaitable[Results]],
        limits: Limits,
        observe: Callable[[int], None] = lambda _: None,
        at_once: Callable[[Rows], Results | None] = lambda _: None,
    ) -> None:
        self._run = run
        self._at_once = at_once
        self._limits = limits
        self.part_rows = min(limits.max_rows, USUAL_ROWS)
        """rows at most of what one caller has in a run"""
        self._observe = observe
        self._waiting = Lanes()
        self._admission = Admission(limits, self._waiting, self.part_rows)
        self.load = self._admission.load
        self.refusal = self._admission.refusal
        self.admit_coming = self._admission.admit_coming
        self._running: list[Entry] = []
        self._suspects = Suspects()
        self._latest_rows = 1
        """of a run"""
        self._turn_began = 0.0
        """since when runs have had the loop to themselves, by perf_counter"""
        self._worker: asyncio.Task[None] | None = None
        self._full: asyncio.Event | None = None
        self._deadlines = Deadlines(self._entries)
        self._closed = False

    def let_run(self, rows: int) -> None:
        """Is told how many rows a run may have, as far as it is for whoever runs them to say: it will have whole parts
        of them, one at least.

        What every run costs is shared by more of them, and what is done between runs, which leave every cache cold,
        by more callers: of 256 small images a quarter more are answered in a second than of 64.
        """
        part = self.part_rows
        parts = max(1, min(round(rows / part), self._limits.max_rows // part))
        self._admission.run_rows = parts * part

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for a run now, the running ones not counted."""
        return self._waiting.rows + self._suspects.rows

    @property
    def busy(self) -> bool:
        """Whether rows wait or are run."""
        return self._worker is not None

    @contextmanager
    def begin(self, rows: int, deadline: float, due: int | None = None) -> Iterator[Begun]:
        """Registers many rows of one request before work is put into preparing them; `submit` is to be told of it.

        The first `due` of them, or all, are to be done by `deadline`. None is refused later, nor are they begun where
        they would be late, or others for them: raises QueueFull, and DeadlinePassed and NotReady as `submit` does.
        """
        self._refuse_if_too_late(asyncio.get_running_loop().time(), deadline)
        due = rows if due is None else min(due, rows)
        with self._admission.begin(rows, due, deadline) as begun:
            yield begun

    async def submit(
        self,
        rows: Rows,
        *,
        deadline: float = inf,
        wanted: Wanted = always,
        begun: Begun | None = None,
    ) -> list[Results]:
        """Rows [n,…], n ≥ 1 → their results, in order, as one part for each `part_rows` rows.

        `deadline` is a time of the loop's clock. `wanted` is asked just before the run: rows of a caller
        who is gone are dropped. Many rows queue part by part, so that others get their turn between. `begun` says that
        they are of what was begun before.

        Raises QueueFull at once, DeadlinePassed, CallerGoneError, NotReady while closing or where
        the engine cannot be opened again, RunError.
        """
        if len(rows) > 1:
            if begun is not None:
                return await self._submit_parts(rows, deadline, wanted, begun)
            with self.begin(len(rows), deadline) as begun_now:
                return await self._submit_parts(rows, deadline, wanted, begun_now)
        if self._is_alone():
            alone = self._run_alone(rows, deadline, wanted)
            if alone is not None:
                return [alone]
        return [await self._enqueue(rows, deadline, wanted, begun)]

    async def _submit_parts(self, rows: Rows, deadline: float, wanted: Wanted, begun: Begun) -> list[Results]:
        size = self.part_rows
        done: list[Results] = []
        try:
            while (start := len(done) * size) < len(rows):
                part = rows[start : start + size]
                done.append(await self._enqueue(part, deadline, wanted, begun))
                begun.left -= len(part)
        except DeadlinePassed:
            if len(rows) <= size:
                raise
            raise DeadlinePassed(
                f"{len(done) * size:,} of {counted(len(rows), 'image')} were answered within the time allowed for one "
                "request: send fewer at once"
            ) from None
        return done

    def _is_alone(self) -> bool:
        """Whether nobody came together with the caller who comes now, nor with the one before, and nobody waits."""
        return self._admission.came_alone() and self._latest_rows == 1 and self._worker is None

    def _run_alone(self, rows: Rows, deadline: float, wanted: Wanted) -> Results | None:
        """Without a task, a future and a turn of the loop for others to come: a twentieth of what one client waits."""
        now = asyncio.get_running_loop().time()
        self._refuse_if_too_late(now, deadline)
        if not wanted():
            raise CallerGoneError
        try:
            results = self._at_once(rows)
            if results is not None:
                _check(results, rows)
        except Exception as error:
            raise RunError(f"the run failed: {error!r}") from error
        if results is not None:
            self.load.count(refused=False, now=now)
            self._observe(1)
        return results

    async def drain(self, limit: float) -> None:
        """Takes nothing more, gives what is queued `limit` seconds, then refuses the rest."""
        self._closed = True
        worker = self._worker
        if worker is not None:
            if self._full is not None:
                self._full.set()  # nobody comes any more
            await asyncio.wait({worker}, timeout=limit)
            worker.cancel()
        for entry in self._entries():
            entry.fail(NotReady("the service is stopping"))
        self._waiting.clear()
        self._deadlines.stop()

    def _entries(self) -> list[Entry]:
        return [*self._running, *self._suspects, *self._waiting]

    def _enqueue(
        self, rows: Rows, deadline: float, wanted: Wanted, begun: Begun | None
    ) -> asyncio.Future[Results]:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._admit(len(rows), now, deadline, begun)
        entry = Entry(rows, now, deadline, wanted, begun)
        self._waiting.append(entry)
        self._deadlines.watch(deadline)
        if self._worker is None:
            # The task's first step comes in the next turn of the loop: whoever else is ready now gets in.
            self._worker = loop.create_task(self._work())
        elif self._full is not None and self._waiting.rows >= self._admission.run_rows:
            self._full.set()
        return entry.future

    def _refuse_if_too_late(self, now: float, deadline: float) -> None:
        if self._closed:
            raise NotReady("the service is stopping")
        if deadline <= now:
            raise DeadlinePassed("the time allowed was over before the images could be queued")

    def _admit(self, rows: int, now: float, deadline: float, begun: Begun | None) -> None:
        self._refuse_if_too_late(now, deadline)
        refused = self.refusal(rows) if begun is None else None
        if refused is not None:
            raise refused
        self.load.count(refused=False, now=now, rows=rows)

    async def _work(self) -> None:
        """One busy spell: runs until nothing waits. There is never more than one of these."""
        self._turn_began = perf_counter()
        try:
            while self._waiting or self._suspects:
                if not self._suspects:
                    await self._wait_for_those_who_come()
                    await self._wait_for_company()
                entries = self._gather()
                if entries:
                    await self._run_and_deliver(entries)
        finally:
            self._worker = None

    async def _wait_for_those_who_come(self) -> None:
        """Some may have been let in since this task was to go on: they come right after it. While they are prepared
        others are let in, and under load a turn more is a larger run. Turns that bring no row end it: of requests
        whose images are slow to arrive, or are none, there may be some in every turn. Where many rows of one caller
        are to be run, the turn is little beside them, and others' may be in the sockets."""
        rows = 0
        while (
            self._admission.coming or self._waiting.parts
        ) and rows < self._waiting.rows < self._admission.run_rows:
            rows = self._waiting.rows
            await asyncio.sleep(0)

    async def _wait_for_company(self) -> None:
        most = self._limits.max_wait
        if (
            most <= 0
            or len(self._waiting) == 1
            or self._waiting.rows >= self._admission.run_rows
            or self._closed
        ):
            return
        self._full = asyncio.Event()
        until = min(one.since + min(most, (one.deadline - one.since) / 2) for one in self._waiting)
        try:
            async with asyncio.timeout_at(until):
                await self._full.wait()
        except TimeoutError:
            pass
        finally:
            self._full = None

    async def _let_others_come(self) -> None:
        """After a run that had the loop to itself."""
        if self._waiting.rows >= self._admission.run_rows:
            if perf_counter() - self._turn_began < LONGEST_TURN:
                return
            # In this turn answers are sent and sockets are read; what comes from them is queued in the next.
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._turn_began = perf_counter()

    def _gather(self) -> list[Entry]:
        """Takes from the queue what fits into one run, without those nobody waits for."""
        if self._suspects:
            return list(filter(_is_wanted, [self._suspects.next()]))
        if self._waiting.parts > 1:
            self._admission.order_parts()
        return self._waiting.take(self._admission.run_rows, _is_wanted)

    async def _run_and_deliver(self, entries: list[Entry]) -> None:
        self._running = entries
        blocked = True  # by a failure as well, as far as is known
        try:
            rows = entries[0].rows if len(entries) == 1 else np.concatenate([entry.rows for entry in entries])
            self._latest_rows = len(rows)
            self._admission.running_rows = len(rows) + self._suspects.rows
            self._observe(len(rows))
            results = self._at_once(rows)
            blocked = results is not None
            if results is None:
                results = await self._run(rows)
                self._turn_began = perf_counter()
            _check(results, rows)
        except NotReady as error:
            # One exception for each caller: a shared one would collect the traceback of every await.
            for entry in entries:
                entry.fail(NotReady(error.detail))
        except Exception as error:
            for entry in self._suspects.blame(entries):
                entry.fail(_failure(error))
        else:
            self._suspects.acquit()
            self._deliver(entries, results)
        finally:
            self._running = []
            self._admission.running_rows = self._suspects.rows
        if blocked:
            await self._let_others_come()

    @staticmethod
    def _deliver(entries: list[Entry], results: Results) -> None:
        start = 0
        for entry in entries:
            stop = start + len(entry.rows)
            if not entry.future.done():
                entry.future.set_result(results[start:stop])
            start = stop


def _check(results: Sequence[Any] | NDArray[Any], rows: Rows) -> None:
    if len(results) != len(rows):
        raise ValueError(f"the run gave {len(results)} results for {len(rows)} rows")


def _failure(error: Exception) -> RunError:
    failure = RunError(f"the run failed: {error!r}")
    failure.__cause__ = error
    return failure


def _is_wanted(entry: Entry) -> bool:
    if entry.future.done():
        return False
    if not entry.wanted():
        entry.fail(CallerGoneError())
        return False
    return True
