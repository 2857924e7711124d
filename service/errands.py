"""Work in threads for those who wait for it: what nobody waits for any more is not begun."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from service.callers import CallerGoneError, Wanted
from service.errors import NotReady

T = TypeVar("T")
F = TypeVar("F")

log = logging.getLogger("convscope")


class _Waited:
    """Whether somebody waits, as a thread may ask."""

    __slots__ = ("_asked", "over")

    def __init__(self, asked: Wanted) -> None:
        self._asked = asked
        self.over = False
        """the time allowed, or the wait"""

    def __call__(self) -> bool:
        return not self.over and self._asked()


class Threads(ThreadPoolExecutor):
    """Where no further thread can be started, those there are do the work."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise
            # What was handed over is queued by now, and the threads take from the queue until they end.


async def in_thread(work: Callable[[], T]) -> T:
    """What `work` gives, done by one of the loop's own threads, as asyncio.to_thread has it. Raises NotReady as
    `hand_over` does, and what `work` does."""
    return await _taken(partial(asyncio.get_running_loop().run_in_executor, None), work)


def hand_over(threads: ThreadPoolExecutor, work: Callable[[], T]) -> Future[T]:
    """Submits `work`; gives its future. Raises NotReady where no thread can be started, as where the system allows no
    more of them, or where they end with the service; `work` is not done then."""
    return _taken(threads.submit, work)


def _taken(submit: Callable[[Callable[[], T]], F], work: Callable[[], T]) -> F:
    held = [work]

    def run() -> T:
        return held.pop()()

    try:
        return submit(run)
    except RuntimeError as error:
        held.clear()  # it is queued all the same, and would be done for nobody as soon as there is a thread
        # Its traceback has the work.
        log.warning("something was refused for want of a thread: %s", str(error))
        raise NotReady("no thread can be had for this now; ask again in a moment") from error


def unread(future: "Future[Any] | asyncio.Future[Any]") -> None:
    """Whoever waited may be gone: its failure is not left unread."""
    if not future.cancelled():
        future.exception()


async def fetch(
    threads: ThreadPoolExecutor,
    work: Callable[[Wanted], T],
    deadline: float,
    wanted: Wanted,
    freed: Callable[[], None],
) -> T:
    """What `work` gives, by `deadline` on the loop's clock. Raises TimeoutError; CallerGoneError where it was not
    wanted by the time a thread was free; what `hand_over` and `work` do.

    `work` is called with a predicate that says whether the result is still wanted; once it says no, `work` may return
    anything: under more than the threads can do, what is begun too late would else take all of their time. `freed` is
    called on the loop when the slot is free.
    """
    waited, held = _Waited(wanted), [work]

    def run() -> T:
        if not waited():
            raise CallerGoneError
        return held[0](waited)

    try:
        errand = hand_over(threads, run)
    except NotReady:
        waited.over = True  # a thread that became free meanwhile may have begun it
        freed()
        raise
    future = asyncio.wrap_future(errand)

    def end(future: "asyncio.Future[T]") -> None:
        freed()
        unread(future)

    future.add_done_callback(end)
    try:
        # Shielded: what a thread has begun cannot be stopped, and its place is free only when it really is.
        async with asyncio.timeout_at(deadline):
            return await asyncio.shield(future)
    finally:
        waited.over = True
        if errand.cancel():
            held.clear()  # with all it holds: the thread forgets it only when it comes to it
