import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import httpx
import pytest

from service.callers import CallerGoneError, Wanted, always
from service.errands import Threads, fetch, hand_over, in_thread
from service.errors import NotReady

NEVER = float("inf")


class Held:
    """Work that its thread does until it may end; then it tells whether it was still wanted."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, wanted: Wanted) -> bool:
        self.begun.set()
        assert self.go.wait(60)
        return wanted()


@contextmanager
def no_thread_can_be_started() -> Iterator[None]:
    """As where the system allows no more of them."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        yield


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as one:
        yield one


@pytest.fixture
async def held(thread: ThreadPoolExecutor) -> AsyncIterator[Held]:
    """What keeps the thread."""
    work = Held()
    task = asyncio.create_task(fetch(thread, work, NEVER, always, lambda: None))
    try:
        assert await asyncio.to_thread(work.begun.wait, 60)
        yield work
    finally:
        work.go.set()
    assert await task


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_what_is_too_late_before_a_thread_is_free_is_never_begun(
    thread: ThreadPoolExecutor, held: Held
) -> None:
    late, freed = Held(), asyncio.Event()
    with pytest.raises(TimeoutError):
        await fetch(thread, late, now() + 0.01, always, freed.set)
    await freed.wait()  # while the thread is still busy
    assert not held.go.is_set()
    gone = weakref.ref(late)
    del late
    gc.collect()
    assert gone() is None
    held.go.set()
    assert await fetch(thread, lambda _: "the next", NEVER, always, lambda: None) == "the next"


async def test_nor_what_nobody_wants_by_then(thread: ThreadPoolExecutor, held: Held) -> None:
    begun, freed = list[bool](), asyncio.Event()
    task = asyncio.create_task(fetch(thread, lambda _: begun.append(True), NEVER, lambda: False, freed.set))
    await asyncio.sleep(0)
    held.go.set()
    with pytest.raises(CallerGoneError):
        await task
    await freed.wait()
    assert begun == []


async def test_what_is_begun_is_told_that_nobody_waits_and_keeps_its_place_until_it_ends(
    thread: ThreadPoolExecutor,
) -> None:
    work, freed, told = Held(), asyncio.Event(), list[bool]()
    task = asyncio.create_task(
        fetch(thread, lambda wanted: told.append(work(wanted)), NEVER, always, freed.set)
    )
    try:
        assert await asyncio.to_thread(work.begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not freed.is_set()
    finally:
        work.go.set()
    await freed.wait()
    assert told == [False]


async def test_what_the_work_raises_is_handed_on(thread: ThreadPoolExecutor) -> None:
    def fails(_: Wanted) -> None:
        raise ArithmeticError("13")

    with pytest.raises(ArithmeticError, match="13"):
        await fetch(thread, fails, NEVER, always, lambda: None)


async def test_for_want_of_a_thread_it_is_refused_is_nowhere_kept_and_gives_its_place_back(
    thread: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    work, freed = Held(), list[bool]()
    with no_thread_can_be_started(), pytest.raises(NotReady):
        await fetch(thread, work, NEVER, always, lambda: freed.append(True))
    gone = weakref.ref(work)
    del work
    gc.collect()
    assert (freed, gone()) == ([True], None)
    assert "can't start new thread" in caplog.text
    assert await fetch(thread, lambda _: "the next", NEVER, always, lambda: None) == "the next"


async def test_what_another_thread_began_while_none_could_be_started_is_told_that_nobody_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, told = Held(), Held(), list[bool]()

    def start(_: threading.Thread) -> None:
        first.go.set()
        assert second.begun.wait(60)
        raise RuntimeError("can't start new thread")

    with ThreadPoolExecutor(2) as threads:
        before = asyncio.create_task(fetch(threads, first, NEVER, always, lambda: None))
        await asyncio.sleep(0)
        monkeypatch.setattr(threading.Thread, "start", start)
        try:
            with pytest.raises(NotReady):
                await fetch(threads, lambda wanted: told.append(second(wanted)), NEVER, always, lambda: None)
        finally:
            first.go.set()
            second.go.set()
        assert await before
    assert told == [False]


async def test_one_thread_does_the_work_of_many_where_no_further_one_can_be_started() -> None:
    first = Held()
    with Threads(2) as threads:
        busy = asyncio.create_task(fetch(threads, first, NEVER, always, lambda: None))
        try:
            assert await asyncio.to_thread(first.begun.wait, 60)
            with no_thread_can_be_started():
                queued = hand_over(threads, lambda: "done all the same")
            assert not queued.done()
        finally:
            first.go.set()
        assert await busy
        assert await asyncio.wrap_future(queued) == "done all the same"


async def test_where_there_is_none_at_all_it_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    begun = list[str]()
    with Threads(2) as threads:
        with no_thread_can_be_started(), pytest.raises(NotReady):
            hand_over(threads, lambda: begun.append("for nobody"))
        await asyncio.wrap_future(hand_over(threads, lambda: begun.append("the next")))
    assert begun == ["the next"]
    assert "can't start new thread" in caplog.text


async def test_what_the_loops_threads_cannot_do_is_refused_and_nowhere_kept() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    work = Held()
    with no_thread_can_be_started(), pytest.raises(NotReady):
        await in_thread(partial(work, always))
    gone = weakref.ref(work)
    del work
    gc.collect()
    assert gone() is None
    assert await in_thread(lambda: "the next") == "the next"


async def test_a_runtime_error_of_the_work_itself_is_its_own() -> None:
    def fails() -> None:
        raise RuntimeError("13")

    with pytest.raises(RuntimeError, match="13"):
        await in_thread(fails)


@pytest.mark.parametrize("path", ["/samples/mnist/0", "/samples/nothing/0"])
async def test_a_request_that_finds_no_thread_is_told_to_come_again(
    client: httpx.AsyncClient, path: str
) -> None:
    # The loop's own may have a thread that is idle.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    with no_thread_can_be_started():
        refused = await client.get(path)
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/not-ready")
    assert "Retry-After" in refused.headers
    assert (await client.get(path)).status_code == (200 if "mnist" in path else 404)
