"""Runs the images package where it harms nobody: small images in the loop, a few in a turn; large ones in threads."""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from time import perf_counter

from service.callers import CallerGoneError, Wanted, always
from service.errands import Threads, fetch
from service.errors import DeadlinePassed, Problem, QueueFull, counted
from service.images import Prepared, PrepareOptions, digits_as_they_are, prepare, prepare_each
from service.images.containers import PNG_SIGNATURE
from service.load import Load
from service.manifest import InputSpec
from service.memory import give_back

SMALL_BYTES = 8192
QUICK_PIXELS = 32 * 32
"""A digit of so many takes a millisecond or two, as the longest run that the loop does itself; one in MNIST's own form
a fiftieth of that, which is what a hand-over to a thread costs"""
SMALL_PIXELS = 128 * 128
"""A digit of so many may take ten milliseconds"""
SMALL_FOR_ONE = 16
"""Small images that may wait in place of a large one, which needs a hundred times the memory"""
REST = 1.0  # seconds without anything to decode, after which memory is given back
MOST_AT_ONCE = 128
"""Small digits that the loop reads in one of its turns, in about a millisecond, where many callers send some."""

Work = Callable[[Wanted], list[Prepared | Problem]]


def decoding_threads(workers: int) -> int:
    """Of the cores that this process may use, its share where so many decode: at least one."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, cores // workers)


def pixels_of(data: bytes) -> float:
    """Width × height; endless where that is not known at a glance.

    It is for PNG, where the size stands at a fixed place: a few bytes can be many pixels.
    """
    if len(data) > SMALL_BYTES or not data.startswith(PNG_SIGNATURE):
        return inf
    return int.from_bytes(data[16:20]) * int.from_bytes(data[20:24])


class Preparer:
    """Prepares images for a model's input, with a bound on the large ones and the batches that wait for it."""

    def __init__(self, *, threads: int, max_pixels: int, max_waiting: int, max_delay: float = inf) -> None:
        """`max_delay` is how many seconds one may have to wait for a thread, as far as the latest tell: who would wait
        for longer is refused at once. Under more than the threads can do all would be too late else, and none
        answered."""
        self._max_pixels = max_pixels
        self._max_delay = max_delay
        self._most_waiting = max_waiting * SMALL_FOR_ONE
        self._waiting = 0
        """images and batches that wait or are being decoded, small ones as 1 and others as SMALL_FOR_ONE"""
        self._this_turn = 0
        """files that the loop has read in this turn"""
        self._most_threads = threads
        self._threads = Threads(threads, thread_name_prefix="decode")
        self._errands = self._files = 0
        """that threads have or will have, and of how many files"""
        self._load = Load()
        """what a file took lately"""
        self._large = False
        """whether some that take much memory were decoded since it was given back"""
        self._tidying: asyncio.TimerHandle | None = None

    async def prepare(
        self,
        data: bytes,
        spec: InputSpec,
        options: PrepareOptions,
        deadline: float,
        *,
        wanted: Wanted = always,
    ) -> Prepared:
        """One image, ready by `deadline` on the loop's clock. Raises what images.prepare does, QueueFull,
        DeadlinePassed, NotReady where no thread can be started, or CallerGoneError where it is not `wanted` any more
        before a thread begins it."""
        pixels = pixels_of(data)
        if pixels <= QUICK_PIXELS:
            return prepare(data, spec, options, max_pixels=self._max_pixels)
        weight = 1 if pixels <= SMALL_PIXELS else SMALL_FOR_ONE
        self._refuse_if_busy(weight)
        work = self._work([data], spec, options)
        [prepared] = await self._in_a_thread(work, 1, deadline, wanted, weight)
        if isinstance(prepared, Problem):
            raise prepared
        return prepared

    async def prepare_each(
        self,
        files: list[bytes],
        spec: InputSpec,
        options: PrepareOptions,
        deadline: float,
        *,
        wanted: Wanted = always,
        goes_on: bool = False,
    ) -> list[Prepared | Problem]:
        """Several images; one that cannot be prepared gives its problem instead. Where not all are small digits in
        which nothing has to be done, a thread does the others: for those it would only get in the loop's way, since
        both need the interpreter. Raises QueueFull, DeadlinePassed, NotReady where no thread can be started, or
        CallerGoneError where the rest is not `wanted`.

        `goes_on` says that images before these are done: they are not refused, or that would have been in vain."""
        ready = None
        if max(map(len, files), default=0) <= SMALL_BYTES:
            await self._wait_for_a_turn(len(files))
            ready = digits_as_they_are(files, spec, options, max_pixels=self._max_pixels)
            if len(ready) == len(files):
                return [*ready.values()]
        if not goes_on:
            self._refuse_if_busy(SMALL_FOR_ONE)
        work = self._work(files, spec, options, ready)
        return await self._in_a_thread(work, len(files), deadline, wanted)

    async def _wait_for_a_turn(self, files: int) -> None:
        """One in which few others have been read. Raises QueueFull where too many wait already."""
        if self._is_taken(files):
            self._refuse_if_full(SMALL_FOR_ONE)
            self._waiting += SMALL_FOR_ONE
            try:
                while self._is_taken(files):  # noqa: ASYNC110 - the next turn is what is waited for
                    await asyncio.sleep(0)
            finally:
                self._waiting -= SMALL_FOR_ONE
        if not self._this_turn:
            asyncio.get_running_loop().call_soon(self._begin_turn)
        self._this_turn += files

    def _is_taken(self, files: int) -> bool:
        """Whether the loop has no time for so many more in this turn."""
        return bool(self._this_turn) and self._this_turn + files > MOST_AT_ONCE

    def _begin_turn(self) -> None:
        self._this_turn = 0

    def _work(
        self,
        files: list[bytes],
        spec: InputSpec,
        options: PrepareOptions,
        ready: dict[int, Prepared] | None = None,
    ) -> Work:
        return lambda wanted: prepare_each(
            files, spec, options, max_pixels=self._max_pixels, ready=ready, wanted=wanted
        )

    async def _in_a_thread(
        self,
        work: Work,
        files: int,
        deadline: float,
        wanted: Wanted,
        weight: int = SMALL_FOR_ONE,
    ) -> list[Prepared | Problem]:
        took: list[tuple[int, float]] = []
        self._count(weight, 1, files)
        freed = partial(self._end, weight, files, took)
        try:
            prepared = await fetch(self._threads, partial(_timed, work, took), deadline, wanted, freed)
        except TimeoutError:
            raise DeadlinePassed("decoding took longer than the time allowed for one request") from None
        if len(prepared) < files:
            raise CallerGoneError
        return prepared

    def _end(self, weight: int, files: int, took: list[tuple[int, float]]) -> None:
        self._count(-weight, -1, -files)
        for done, seconds in took:
            self._load.learn(done, seconds)
        self._large |= weight == SMALL_FOR_ONE
        if self._large and not self._errands and self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(REST, self._tidy)

    def _tidy(self) -> None:
        """When nothing was decoded for a moment, what the C library keeps of large pictures is given back."""
        self._tidying = None
        if not self._errands:
            self._large = False
            with suppress(RuntimeError):  # for want of a thread: it is done by the next there is
                self._threads.submit(give_back)

    def _count(self, weight: int, errands: int, files: int) -> None:
        self._waiting += weight
        self._errands += errands
        self._files += files

    def _refuse_if_full(self, weight: int) -> None:
        if self._waiting + weight > self._most_waiting:
            raise QueueFull("the decoding queue is full; CONVSCOPE_MAX_DECODING sets its size")

    def _refuse_if_busy(self, weight: int) -> None:
        self._refuse_if_full(weight)
        if self._errands < self._most_threads:
            return
        delay = self._load.seconds(self._files) / self._most_threads
        if delay > self._max_delay:
            raise QueueFull(
                f"{counted(self._files, 'image')} wait to be decoded, {delay:.2g} s of work; "
                f"the limit is {self._max_delay:.2g} s"
            )

    def close(self) -> None:
        if self._tidying is not None:
            self._tidying.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _timed(work: Work, took: list[tuple[int, float]], wanted: Wanted) -> list[Prepared | Problem]:
    """Adds how many were done and the seconds that it took to `took`."""
    started = perf_counter()
    prepared = work(wanted)
    took.append((len(prepared), perf_counter() - started))
    return prepared
