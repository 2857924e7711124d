import asyncio
import os
import struct
import sys
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import service.preparation
from service.app import create_app
from service.callers import CallerGoneError
from service.errors import DeadlinePassed, NotAnImage, NotReady, Problem, QueueFull, TooManyPixels
from service.images import Prepared, PrepareOptions, prepare_each
from service.manifest import InputSpec
from service.preparation import SMALL_BYTES, Preparer, decoding_threads, pixels_of
from service.settings import Settings
from tests.service.images.files import MAX_PIXELS, encoded, png, seven
from tests.service.loop_turns import LoopTurns
from tests.service.shipped import test_set
from tests.service.test_errands import no_thread_can_be_started

DIGIT = InputSpec(height=28, width=28, channels=1)
NEVER = float("inf")
IMAGES = test_set("mnist")[0][:4]


@pytest.fixture(scope="module")
def digits() -> list[bytes]:
    """IMAGES as PNGs."""
    return [encoded(image[..., 0]) for image in IMAGES]


@pytest.fixture
def preparer() -> Iterator[Preparer]:
    one = Preparer(threads=1, max_pixels=MAX_PIXELS, max_waiting=1)
    yield one
    one.close()


def test_only_a_small_pngs_size_is_known_at_a_glance(digits: list[bytes]) -> None:
    assert pixels_of(digits[0]) == 28 * 28
    for kind in ("JPEG", "GIF", "BMP", "WEBP"):
        assert pixels_of(encoded(IMAGES[0][..., 0], kind)) == NEVER, kind
    for data in (b"", digits[0][:7], digits[0] + bytes(SMALL_BYTES)):
        assert pixels_of(data) == NEVER


@pytest.mark.parametrize(("workers", "threads"), [(1, 6), (2, 3), (4, 1), (9, 1)])
def test_workers_share_the_cores_that_they_may_use(
    monkeypatch: pytest.MonkeyPatch, workers: int, threads: int
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(1, 7)}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert decoding_threads(workers) == threads
    monkeypatch.setattr(sys, "platform", "darwin")  # which has no affinity
    assert decoding_threads(workers) == 64 // workers


def test_so_does_a_service_of_many(artifacts: Path) -> None:
    for workers, threads in [(1, decoding_threads(1)), (256, decoding_threads(256))]:
        app = create_app(Settings(artifacts=artifacts, workers=workers))
        assert app.state.service.preparer._most_threads == threads


async def prepare(preparer: Preparer, files: list[bytes]) -> list[Prepared | Problem]:
    return await preparer.prepare_each(files, DIGIT, PrepareOptions(), NEVER)


async def test_digits_in_which_nothing_has_to_be_done_need_no_thread(
    preparer: Preparer, digits: list[bytes]
) -> None:
    preparer.close()
    prepared = await prepare(preparer, digits)
    assert [one.image.shape for one in prepared if isinstance(one, Prepared)] == [(28, 28, 1)] * 4
    with pytest.raises(NotReady):
        await prepare(preparer, [encoded(seven())])
    assert await prepare(preparer, []) == []


async def test_others_among_them_are_prepared_in_their_places(
    preparer: Preparer, digits: list[bytes]
) -> None:
    first, text, picture, second = await prepare(preparer, [digits[0], b"text", encoded(seven()), digits[1]])
    assert isinstance(first, Prepared)
    assert isinstance(second, Prepared)
    assert np.array_equal([first.image, second.image], IMAGES[:2])
    assert isinstance(text, NotAnImage)
    assert isinstance(picture, Prepared)
    assert picture.inverted


async def test_a_long_file_is_read_by_a_thread_even_if_it_is_a_small_digit(
    preparer: Preparer, digits: list[bytes]
) -> None:
    long = written_long(IMAGES[0])
    assert len(long) > SMALL_BYTES
    [first, second] = await prepare(preparer, [long, digits[1]])
    assert isinstance(first, Prepared)
    assert isinstance(second, Prepared)
    assert np.array_equal([first.image, second.image], IMAGES[:2])
    preparer.close()
    with pytest.raises(NotReady):
        await prepare(preparer, [long, digits[1]])


def written_long(image: NDArray[np.uint8]) -> bytes:
    """uint8 [28,28,1] as PNG, whose pixels come after thousands of blocks of none."""
    rows = np.insert(image[..., 0], 0, 0, axis=1).tobytes()  # before each the number of its filter
    nothing = b"\0\0\0\xff\xff" * (SMALL_BYTES // 5)
    pixels = b"\1" + struct.pack("<HH", len(rows), len(rows) ^ 0xFFFF) + rows
    stream = b"\x78\1" + nothing + pixels + struct.pack(">I", zlib.adler32(rows))
    return png(28, 28, stream=stream)


async def test_those_who_find_the_threads_busy_are_refused_and_small_digits_are_not(
    digits: list[bytes],
) -> None:
    busy = Preparer(threads=1, max_pixels=MAX_PIXELS, max_waiting=0)
    assert len(await prepare(busy, digits)) == len(digits)
    with pytest.raises(QueueFull):
        await prepare(busy, [*digits, encoded(seven())])


@pytest.mark.parametrize(("side", "by_the_loop"), [(28, True), (32, True), (33, False), (128, False)])
async def test_a_picture_that_takes_longer_than_a_short_run_is_left_to_a_thread(
    preparer: Preparer, side: int, by_the_loop: bool
) -> None:
    picture = Image.fromarray(255 - IMAGES[0][..., 0]).resize((side, side))
    data = encoded(np.asarray(picture))
    assert len(data) <= SMALL_BYTES
    one = await preparer.prepare(data, DIGIT, PrepareOptions(), NEVER)
    assert one.image.shape == (28, 28, 1)
    preparer.close()
    threads = nullcontext() if by_the_loop else pytest.raises(NotReady)
    with threads:
        await preparer.prepare(data, DIGIT, PrepareOptions(), NEVER)


async def test_sixteen_small_pictures_may_wait_in_place_of_a_large_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = threading.Event()

    def hold(files: list[bytes], *_: object, **__: object) -> list[Problem]:
        assert held.wait(60)
        return [NotAnImage("held")] * len(files)

    monkeypatch.setattr(service.preparation, "prepare_each", hold)
    preparer = Preparer(threads=1, max_pixels=MAX_PIXELS, max_waiting=1)
    small, large = (encoded(np.zeros((side, side), np.uint8)) for side in (128, 129))

    async def answer(data: bytes) -> type[BaseException]:
        with pytest.raises(Problem) as problem:
            await preparer.prepare(data, DIGIT, PrepareOptions(), NEVER)
        return problem.type

    for waiting, rest in (([small] * 16, [small, large]), ([large], [small, large]), ([small], [large])):
        held.clear()
        calls = [asyncio.create_task(answer(data)) for data in waiting]
        await asyncio.sleep(0)
        assert [await answer(data) for data in rest] == [QueueFull] * len(rest)
        held.set()
        assert await asyncio.gather(*calls) == [NotAnImage] * len(waiting)
    preparer.close()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Threads that do not end what they have begun before it is set."""
    go = threading.Event()

    def hold(files: list[bytes], *arguments: Any, wanted: Callable[[], bool], **options: Any) -> Any:
        assert go.wait(60)
        return prepare_each(files, *arguments, wanted=wanted, **options)

    monkeypatch.setattr(service.preparation, "prepare_each", hold)
    yield go
    go.set()


async def test_who_would_wait_for_too_long_is_refused_unless_images_before_are_done(
    held: threading.Event,
) -> None:
    preparer = Preparer(threads=1, max_pixels=MAX_PIXELS, max_waiting=64, max_delay=5)
    files = [encoded(seven())] * 2
    preparer._load.learn(1, 3.0)
    running = asyncio.create_task(prepare(preparer, files[:1]))  # the thread is free: however long it takes
    await asyncio.sleep(0)
    queued = asyncio.create_task(prepare(preparer, files))
    await asyncio.sleep(0)
    told = r"3 images wait to be decoded, 9 s of work; the limit is 5 s"
    with pytest.raises(QueueFull, match=told):
        await prepare(preparer, files)
    with pytest.raises(QueueFull, match=told):
        await preparer.prepare(files[0], DIGIT, PrepareOptions(), NEVER)
    goes_on = asyncio.create_task(preparer.prepare_each(files, DIGIT, PrepareOptions(), NEVER, goes_on=True))
    held.set()
    assert [len(one) for one in await asyncio.gather(running, queued, goes_on)] == [1, 2, 2]
    preparer.close()


async def test_nobody_is_refused_while_a_thread_is_free_and_the_threads_share_the_work(
    held: threading.Event,
) -> None:
    preparer = Preparer(threads=2, max_pixels=MAX_PIXELS, max_waiting=64, max_delay=5)
    preparer._load.learn(1, 30.0)
    files = [encoded(seven())]
    running = [asyncio.create_task(prepare(preparer, files)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match=r"2 images wait to be decoded, 30 s of work; the limit is 5 s"):
        await prepare(preparer, files)
    held.set()
    assert [len(one) for one in await asyncio.gather(*running)] == [1, 1]
    preparer.close()


async def test_as_many_images_are_decoded_at_once_as_there_are_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = threading.Barrier(2)

    def meet(files: list[bytes], *_: object, **__: object) -> list[Problem]:
        both.wait(10)
        return [NotAnImage("met")] * len(files)

    monkeypatch.setattr(service.preparation, "prepare_each", meet)
    preparer = Preparer(threads=2, max_pixels=MAX_PIXELS, max_waiting=64)
    outcomes = await asyncio.gather(*(prepare(preparer, [encoded(seven())]) for _ in range(2)))
    assert [len(one) for one in outcomes] == [1, 1]
    preparer.close()


async def test_what_is_not_decoded_in_time_is_told_so(held: threading.Event) -> None:
    preparer = Preparer(threads=1, max_pixels=MAX_PIXELS, max_waiting=64)
    data, soon = encoded(seven()), asyncio.get_running_loop().time() + 0.01
    for call in (
        preparer.prepare(data, DIGIT, PrepareOptions(), soon),
        preparer.prepare_each([data], DIGIT, PrepareOptions(), soon),
    ):
        async with asyncio.timeout(10):
            with pytest.raises(DeadlinePassed, match="decoding took longer"):
                await call
    held.set()
    preparer.close()


async def test_a_service_that_stops_begins_no_more_of_what_waits_for_a_thread(held: threading.Event) -> None:
    preparer = Preparer(threads=1, max_pixels=MAX_PIXELS, max_waiting=64)
    running, waiting = (asyncio.create_task(prepare(preparer, [encoded(seven())])) for _ in range(2))
    await asyncio.sleep(0)
    preparer.close()
    held.set()
    assert len(await running) == 1
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_image_that_nobody_waits_for_is_not_decoded(preparer: Preparer) -> None:
    with pytest.raises(CallerGoneError):
        await preparer.prepare(encoded(seven()), DIGIT, PrepareOptions(), NEVER, wanted=lambda: False)


async def test_the_most_pixels_hold_whoever_decodes_them(digits: list[bytes]) -> None:
    preparer = Preparer(threads=1, max_pixels=100, max_waiting=64)
    for data in (digits[0], encoded(seven())):  # by the loop; by a thread
        with pytest.raises(TooManyPixels):
            await preparer.prepare(data, DIGIT, PrepareOptions(), NEVER)
        assert [type(one) for one in await prepare(preparer, [data])] == [TooManyPixels]
    preparer.close()


async def test_what_images_take_is_learned_from_all_that_are_decoded(
    preparer: Preparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.preparation, "perf_counter", iter([0.0, 6.0]).__next__)
    await prepare(preparer, [encoded(seven())] * 3)
    assert preparer._load.seconds(1) == 2
    assert (preparer._waiting, preparer._errands, preparer._files) == (0, 0, 0)


async def test_what_large_pictures_took_is_given_back_when_nothing_is_decoded_for_a_moment(
    preparer: Preparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = threading.Event()
    monkeypatch.setattr(service.preparation, "give_back", given.set)
    monkeypatch.setattr(service.preparation, "REST", 0.001)
    small, large = (encoded(np.asarray(seven().resize((side, side)))) for side in (100, 400))
    await preparer.prepare(small, DIGIT, PrepareOptions(), NEVER)
    assert preparer._tidying is None
    await preparer.prepare(large, DIGIT, PrepareOptions(), NEVER)
    assert await asyncio.to_thread(given.wait, 10)
    assert preparer._tidying is None


async def test_it_is_given_back_once_also_where_small_pictures_end_last(
    held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = list[bool]()
    monkeypatch.setattr(service.preparation, "give_back", lambda: given.append(True))
    monkeypatch.setattr(service.preparation, "REST", 0.001)
    preparer = Preparer(threads=1, max_pixels=MAX_PIXELS, max_waiting=64)
    small, large = (encoded(np.asarray(seven().resize((side, side)))) for side in (100, 400))
    calls = [preparer.prepare(data, DIGIT, PrepareOptions(), NEVER) for data in (large, small)]
    both = asyncio.gather(*calls)
    await asyncio.sleep(0)
    held.set()
    await both
    async with asyncio.timeout(10):
        while not given:  # noqa: ASYNC110 — nobody is told of it
            await asyncio.sleep(0)
    await preparer.prepare(small, DIGIT, PrepareOptions(), NEVER)
    assert (preparer._tidying, given) == (None, [True])
    preparer.close()


async def test_there_is_one_time_for_it_and_it_ends_with_the_service(preparer: Preparer) -> None:
    large = encoded(np.asarray(seven().resize((400, 400))))
    await preparer.prepare(large, DIGIT, PrepareOptions(), NEVER)
    tidying = preparer._tidying
    assert tidying is not None
    await preparer.prepare(large, DIGIT, PrepareOptions(), NEVER)
    assert preparer._tidying is tidying
    preparer.close()
    assert tidying.cancelled()


async def test_it_waits_until_nothing_is_being_decoded(held: threading.Event) -> None:
    preparer = Preparer(threads=1, max_pixels=MAX_PIXELS, max_waiting=64)
    files, soon = [encoded(seven())], asyncio.get_running_loop().time() + 0.01
    running = asyncio.create_task(prepare(preparer, files))
    await asyncio.sleep(0)
    with pytest.raises(DeadlinePassed):
        await preparer.prepare_each(files, DIGIT, PrepareOptions(), soon)
    async with asyncio.timeout(60):
        while preparer._errands > 1:  # noqa: ASYNC110 — the place of what is never begun
            await asyncio.sleep(0)
    assert preparer._tidying is None
    held.set()
    await running
    assert preparer._tidying is not None
    preparer.close()


async def test_nothing_is_given_back_while_another_is_being_decoded(
    held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = threading.Event()
    monkeypatch.setattr(service.preparation, "give_back", given.set)
    monkeypatch.setattr(service.preparation, "REST", 0.001)
    preparer = Preparer(threads=1, max_pixels=MAX_PIXELS, max_waiting=64)
    small, large = (encoded(np.asarray(seven().resize((side, side)))) for side in (100, 400))
    held.set()
    await preparer.prepare(large, DIGIT, PrepareOptions(), NEVER)
    held.clear()
    running = asyncio.create_task(preparer.prepare(small, DIGIT, PrepareOptions(), NEVER))
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        while preparer._tidying is not None:  # noqa: ASYNC110 — nobody is told of it
            await asyncio.sleep(0)
    assert preparer._large
    held.set()
    await running
    assert await asyncio.to_thread(given.wait, 60)
    preparer.close()


async def test_who_finds_no_thread_is_told_to_come_again_and_keeps_no_place(
    preparer: Preparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, failed = threading.Event(), list[object]()
    monkeypatch.setattr(service.preparation, "give_back", given.set)
    monkeypatch.setattr(service.preparation, "REST", 0.001)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    data = encoded(seven())
    with no_thread_can_be_started():
        for _ in range(2):
            with pytest.raises(NotReady):
                await prepare(preparer, [data])
            with pytest.raises(NotReady):
                await preparer.prepare(data, DIGIT, PrepareOptions(), NEVER)
        async with asyncio.timeout(60):
            while preparer._tidying is not None:  # noqa: ASYNC110 — nobody is told of it
                await asyncio.sleep(0)
    assert len(await prepare(preparer, [data])) == 1
    assert (preparer._waiting, preparer._errands, preparer._files) == (0, 0, 0)
    assert (given.is_set(), failed) == (True, [])


async def test_who_finds_no_second_thread_waits_for_the_first(held: threading.Event) -> None:
    preparer = Preparer(threads=2, max_pixels=MAX_PIXELS, max_waiting=64)
    files = [encoded(seven())]
    running = asyncio.create_task(prepare(preparer, files))
    await asyncio.sleep(0)
    with no_thread_can_be_started():
        waiting = asyncio.create_task(prepare(preparer, files))
        await asyncio.sleep(0)
    held.set()
    assert [len(one) for one in await asyncio.gather(running, waiting)] == [1, 1]
    preparer.close()


async def test_of_many_images_no_more_are_decoded_when_their_sender_has_left(preparer: Preparer) -> None:
    there = iter([True, True, False, False, False])  # when a thread takes it; before each file
    files = [encoded(seven())] * 4
    with pytest.raises(CallerGoneError):
        await preparer.prepare_each(files, DIGIT, PrepareOptions(), NEVER, wanted=lambda: next(there))
    assert not [*there]


async def test_an_image_whose_sender_leaves_just_before_it_is_decoded_is_no_failure(
    preparer: Preparer,
) -> None:
    there = iter([True, False])
    with pytest.raises(CallerGoneError):
        await preparer.prepare(
            encoded(seven()) + bytes(SMALL_BYTES), DIGIT, PrepareOptions(), NEVER, wanted=lambda: next(there)
        )
    assert not [*there]


async def test_the_loop_reads_a_few_batches_in_a_turn_and_refuses_more_than_may_wait_for_theirs(
    digits: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.preparation, "MOST_AT_ONCE", 2 * len(digits))
    preparer = Preparer(threads=1, max_pixels=MAX_PIXELS, max_waiting=3)
    for _ in range(2):  # the second time those of the first no longer wait
        turns = LoopTurns()
        with turns.counted():
            calls = [_noting(turns, prepare(preparer, digits)) for _ in range(6)]
            refused = [one for one in await asyncio.gather(*calls, return_exceptions=True) if one]
        assert turns.noted == [0, 0, 1, 1, 2]
        assert [type(one) for one in refused] == [QueueFull]


async def _noting(turns: LoopTurns, call: Awaitable[object]) -> None:
    await call
    turns.note()
