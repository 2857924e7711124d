"""Work in threads for those who wait for it: what nobody waits for any more is not begun."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from service.callers import CallerGoneError, Wanted
from service.errors import NotReady

T = TypeVar("T")

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


def hand_over(threads: ThreadPoolExecutor, work: Callable[[], T]) -> Future[T]:
    """What one of `threads` will have done. Raises NotReady where none can be started, as where the system allows no
    more of them, or where they end with the service; `work` is not done then."""
    held = [work]

    def run() -> T:
        return held.pop()()

    try:
        return threads.submit(run)
    except RuntimeError as error:
        held.clear()  # it is queued all the same, and would be done for nobody as soon as there is a thread
        log.warning(
            "something was refused for want of a thread: %s", str(error)
        )  # its traceback has the work
        raise NotReady("no thread can be had for this now; ask again in a moment") from error


async def fetch(
    threads: ThreadPoolExecutor,
    work: Callable[[Wanted], T],
    deadline: float,
    wanted: Wanted,
    freed: Callable[[], None],
) -> T:
    """What `work` gives, by `deadline` on the loop's clock. Raises TimeoutError; CallerGoneError where it was not
    wanted by the time a thread was free; what `hand_over` and `work` do.

    It is given what tells whether it still is, and may end with anything where it is not: under more than the threads
    can do, what is begun too late would else take all of their time. `freed` is called, in the loop, when its place is.
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
        if not future.cancelled():
            future.exception()  # whoever waited may be gone; it is not left unread

    future.add_done_callback(end)
    try:
        # Shielded: what a thread has begun cannot be stopped, and its place is free only when it really is.
        async with asyncio.timeout_at(deadline):
            return await asyncio.shield(future)
    finally:
        waited.over = True
        if errand.cancel():
            held.clear()  # with all it holds: the thread forgets it only when it comes to it
