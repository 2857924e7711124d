"""Runs the images package where it harms nobody: small images in the loop, a few in a turn; large ones in threads."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from service.errors import DeadlinePassed, Problem, QueueFull
from service.images import Prepared, PrepareOptions, digits_as_they_are, prepare, prepare_each
from service.images.containers import PNG_SIGNATURE
from service.manifest import InputSpec

SMALL_BYTES = 8192
SMALL_PIXELS = (
    128 * 128
)  # some tenths of a millisecond; a hand-over to a thread costs about as much as 28 x 28
MOST_AT_ONCE = 128
"""Small digits that the loop reads in one of its turns, in about a millisecond, where many callers send some."""


def is_small(data: bytes) -> bool:
    """Whether decoding takes less than a hand-over to a thread would be worth.

    Only for PNG, where the size stands at a fixed place: a few bytes can be many pixels.
    """
    if len(data) > SMALL_BYTES or not data.startswith(PNG_SIGNATURE):
        return False
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    return width * height <= SMALL_PIXELS


class Preparer:
    """Prepares images for a model's input, with a bound on the large ones and the batches that wait for it."""

    def __init__(self, *, max_pixels: int, max_waiting: int) -> None:
        self._max_pixels = max_pixels
        self._max_waiting = max_waiting
        self._waiting = 0
        self._this_turn = 0
        """files that the loop has read in this turn"""
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    async def prepare(
        self, data: bytes, spec: InputSpec, options: PrepareOptions, deadline: float
    ) -> Prepared:
        """One image, ready by `deadline` on the loop's clock. Raises what images.prepare does,
        QueueFull or DeadlinePassed."""
        if is_small(data):
            return prepare(data, spec, options, max_pixels=self._max_pixels)
        work = partial(prepare_each, [data], spec, options, max_pixels=self._max_pixels)
        [prepared] = await self._in_a_thread(work, deadline)
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
            self._refuse_if_full()
            self._waiting += 1
            try:
                while self._is_taken(files):  # noqa: ASYNC110 - the next turn is what is waited for
                    await asyncio.sleep(0)
            finally:
                self._waiting -= 1
        if not self._this_turn:
            asyncio.get_running_loop().call_soon(self._begin_turn)
        self._this_turn += files

    def _is_taken(self, files: int) -> bool:
        """Whether the loop has no time for so many more in this turn."""
        return bool(self._this_turn) and self._this_turn + files > MOST_AT_ONCE

    def _begin_turn(self) -> None:
        self._this_turn = 0

    async def _in_a_thread(
        self, work: Callable[[], list[Prepared | Problem]], deadline: float
    ) -> list[Prepared | Problem]:
        self._refuse_if_full()
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._done)
        try:
            # Shielded: a thread cannot be stopped, and its place is free only when it really is.
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(future)
        except TimeoutError:
            raise DeadlinePassed("decoding took longer than the time allowed for one request") from None

    def _refuse_if_full(self) -> None:
        if self._waiting >= self._max_waiting:
            raise QueueFull(f"{self._waiting} large images or batches are being decoded already")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _done(self, future: "asyncio.Future[list[Prepared | Problem]]") -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # whoever waited may be gone; it is not left unread
