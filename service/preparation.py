"""Runs the images package where it harms nobody: small images in the loop, a few in a turn; large ones in threads."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf

from service.errors import DeadlinePassed, Problem, QueueFull
from service.images import Prepared, PrepareOptions, digits_as_they_are, prepare, prepare_each
from service.images.containers import PNG_SIGNATURE
from service.manifest import InputSpec

SMALL_BYTES = 8192
QUICK_PIXELS = 32 * 32
"""A digit of so many takes a millisecond or two, as the longest run that the loop does itself; one in MNIST's own form
a fiftieth of that, which is what a hand-over to a thread costs"""
SMALL_PIXELS = 128 * 128
"""A digit of so many may take ten milliseconds"""
SMALL_FOR_ONE = 16
"""Small images that may wait in place of a large one, which needs a hundred times the memory"""
MOST_AT_ONCE = 128
"""Small digits that the loop reads in one of its turns, in about a millisecond, where many callers send some."""


def pixels_of(data: bytes) -> float:
    """Width × height; endless where that is not known at a glance.

    It is for PNG, where the size stands at a fixed place: a few bytes can be many pixels.
    """
    if len(data) > SMALL_BYTES or not data.startswith(PNG_SIGNATURE):
        return inf
    return int.from_bytes(data[16:20]) * int.from_bytes(data[20:24])


class Preparer:
    """Prepares images for a model's input, with a bound on the large ones and the batches that wait for it."""

    def __init__(self, *, max_pixels: int, max_waiting: int) -> None:
        self._max_pixels = max_pixels
        self._most_waiting = max_waiting * SMALL_FOR_ONE
        self._waiting = 0
        """images and batches that wait or are being decoded, small ones as 1 and others as SMALL_FOR_ONE"""
        self._this_turn = 0
        """files that the loop has read in this turn"""
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    async def prepare(
        self, data: bytes, spec: InputSpec, options: PrepareOptions, deadline: float
    ) -> Prepared:
        """One image, ready by `deadline` on the loop's clock. Raises what images.prepare does,
        QueueFull or DeadlinePassed."""
        pixels = pixels_of(data)
        if pixels <= QUICK_PIXELS:
            return prepare(data, spec, options, max_pixels=self._max_pixels)
        work = partial(prepare_each, [data], spec, options, max_pixels=self._max_pixels)
        weight = 1 if pixels <= SMALL_PIXELS else SMALL_FOR_ONE
        [prepared] = await self._in_a_thread(work, deadline, weight)
        if isinstance(prepared, Problem):
            raise prepared
        return prepared

    async def prepare_each(
        self, files: list[bytes], spec: InputSpec, options: PrepareOptions, deadline: float
    ) -> list[Prepared | Problem]:
        """Several images; one that cannot be prepared gives its problem instead. Where not all are small digits in
        which nothing has to be done, a thread does the others: for those it would only get in the loop's way, since
        both need the interpreter. Raises QueueFull or DeadlinePassed."""
        ready = None
        if max(map(len, files), default=0) <= SMALL_BYTES:
            await self._wait_for_a_turn(len(files))
            ready = digits_as_they_are(files, spec, options, max_pixels=self._max_pixels)
            if len(ready) == len(files):
                return [*ready.values()]
        work = partial(prepare_each, files, spec, options, max_pixels=self._max_pixels, ready=ready)
        return await self._in_a_thread(work, deadline)

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

    async def _in_a_thread(
        self, work: Callable[[], list[Prepared | Problem]], deadline: float, weight: int = SMALL_FOR_ONE
    ) -> list[Prepared | Problem]:
        self._refuse_if_full(weight)
        self._waiting += weight
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(partial(self._done, weight))
        try:
            # Shielded: a thread cannot be stopped, and its place is free only when it really is.
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(future)
        except TimeoutError:
            raise DeadlinePassed("decoding took longer than the time allowed for one request") from None

    def _refuse_if_full(self, weight: int) -> None:
        if self._waiting + weight > self._most_waiting:
            raise QueueFull(
                "as many images and batches wait to be decoded as may: see CONVSCOPE_MAX_DECODING"
            )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _done(self, weight: int, future: "asyncio.Future[list[Prepared | Problem]]") -> None:
        self._waiting -= weight
        if not future.cancelled():
            future.exception()  # whoever waited may be gone; it is not left unread
