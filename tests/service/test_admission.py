"""Whom the batcher refuses: with runs that the tests hold open, so that nothing depends on time."""

import asyncio
from collections.abc import Iterable
from contextlib import nullcontext
from math import inf
from typing import Any

import pytest

from service.admission import Admission, Limits
from service.batcher import Batcher
from service.callers import always
from service.errors import DeadlinePassed, NotReady, QueueFull
from service.lanes import Begun, Entry, Lanes
from tests.service.test_batcher import Engine, Floats, flooded, let_others_run, occupied, rows
from tests.service.test_load import flood


async def test_a_single_row_is_refused_when_it_would_wait_too_long_and_a_long_part_is_not() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_delay=1e-9))
    batcher.load.learn(rows=1, seconds=1)
    first = await occupied(engine, batcher)
    # Nobody waits yet, so there is nothing that could be too long.
    second = asyncio.create_task(batcher.submit(rows(1)))
    await let_others_run()
    with pytest.raises(QueueFull, match=r"the queue holds 1 image, .* s of work; the limit is 1e-09 s"):
        await batcher.submit(rows(2))
    assert batcher.refusal() is not None
    part = asyncio.create_task(batcher.submit(rows(3, 4)))
    await let_others_run()
    engine.open.set()
    await asyncio.gather(first, second, part)
    assert sorted(engine.runs[1]) == [1, 3, 4]
    assert batcher.refusal() is None


async def test_while_most_are_refused_the_queue_is_short() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_delay=10.5, max_overload_delay=4.5))
    batcher.load.learn(rows=1, seconds=1)
    first = await occupied(engine, batcher)
    waiting = [asyncio.create_task(batcher.submit(rows(n))) for n in range(10)]
    await let_others_run()
    assert "the limit is 10 s" in str(batcher.refusal())
    flooded(batcher)
    assert "the limit is 4.5 s" in str(batcher.refusal())
    engine.open.set()
    await asyncio.gather(first, *waiting)
    # The same flood finds no more than four waiting from now on.
    first = await occupied(engine, batcher)
    waiting = [asyncio.create_task(batcher.submit(rows(n))) for n in range(20)]
    await let_others_run()
    assert batcher.waiting_rows == 4
    engine.open.set()
    answers = await asyncio.gather(first, *waiting, return_exceptions=True)
    assert sum(isinstance(answer, QueueFull) for answer in answers) == 16


async def test_who_is_let_in_counts_before_being_in_the_queue() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_queue=2))
    assert [batcher.admit_coming() is None for _ in range(4)] == [True, True, False, False]
    assert "the queue holds 2 images; the limit is 2" in str(batcher.admit_coming())
    await asyncio.sleep(0)
    assert batcher.admit_coming() is None  # none of them came


async def test_who_comes_long_after_a_flood_is_refused_for_it_no_more() -> None:
    batcher = Batcher(Engine(), Limits(max_delay=100, max_queue=50, max_overload_delay=0.001))
    batcher.load.learn(rows=1, seconds=1)
    flood(batcher.load, until=asyncio.get_running_loop().time() - 10)
    assert batcher.load.overloaded
    assert [batcher.admit_coming() is None for _ in range(10)] == [True] * 10


async def test_when_few_are_refused_again_the_queue_is_long_again() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=1, max_delay=10.5, max_overload_delay=0.5))
    batcher.load.learn(rows=1, seconds=1)
    first = await occupied(engine, batcher)
    waiting = asyncio.create_task(batcher.submit(rows(1)))
    await let_others_run()
    flooded(batcher)
    assert batcher.load.overloaded
    engine.open.set()
    await asyncio.gather(first, waiting)
    for _ in range(200):
        await batcher.submit(rows(0))
    assert not batcher.load.overloaded
    first = await occupied(engine, batcher)
    others = [asyncio.create_task(batcher.submit(rows(n))) for n in range(5)]
    await let_others_run()
    assert batcher.waiting_rows == 5
    engine.open.set()
    await asyncio.gather(first, *others)


async def test_a_single_row_waits_for_the_parts_that_have_a_turn_before_it() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=4, max_delay=4.5))
    batcher.load.learn(rows=1, seconds=1)
    first = await occupied(engine, batcher)
    parts = [asyncio.create_task(batcher.submit(rows(n, n, n))) for n in (1, 2)]
    await let_others_run()
    assert batcher.refusal() is None  # nobody is in the lane, and a single row has the next turn
    single = asyncio.create_task(batcher.submit(rows(9)))
    await let_others_run()
    assert "the queue holds 7 images, 7 s of work" in str(batcher.refusal())
    engine.open.set()
    await asyncio.gather(first, *parts, single)


async def test_rows_are_counted_against_the_queue() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=8, max_queue=4))
    first = await occupied(engine, batcher)
    fits = asyncio.create_task(batcher.submit(rows(1, 2, 3)))
    await let_others_run()
    with pytest.raises(QueueFull, match="the queue holds 3 images"):
        await batcher.submit(rows(4, 5))
    assert batcher.load._came == 1 + 3 + 2  # as offered, whether they are let in or not
    engine.open.set()
    await asyncio.gather(first, fits)


async def test_neither_single_rows_nor_parts_keep_the_others_out() -> None:
    """Where nobody of their kind waits, one is let in, whatever the queue holds of the other."""
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=8, max_queue=4))
    first = await occupied(engine, batcher)
    singles = [asyncio.create_task(batcher.submit(rows(n))) for n in range(4)]
    await let_others_run()
    assert batcher.refusal() is not None
    part = asyncio.create_task(batcher.submit(rows(1, 2, 3)))
    await let_others_run()
    with pytest.raises(QueueFull):
        await batcher.submit(rows(1, 2, 3))
    engine.open.set()
    await asyncio.gather(first, part, *singles)

    first = await occupied(engine, batcher)
    part = asyncio.create_task(batcher.submit(rows(1, 2, 3, 4)))
    await let_others_run()
    assert batcher.admit_coming() is None
    assert batcher.admit_coming() is not None
    single = asyncio.create_task(batcher.submit(rows(5)))
    engine.open.set()
    await asyncio.gather(first, part, single)


async def test_of_many_rows_one_part_at_a_time_counts_against_the_queue() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=4, max_queue=6))
    first = await occupied(engine, batcher)
    part = asyncio.create_task(batcher.submit(rows(1, 2)))
    await let_others_run()
    many = asyncio.create_task(batcher.submit(rows(*range(20))))
    await let_others_run()
    assert batcher.waiting_rows == 6
    with pytest.raises(QueueFull):
        await batcher.submit(rows(1, 2))
    engine.open.set()
    await asyncio.gather(first, part, many)


async def test_what_is_begun_is_not_refused_however_full_the_queue_is() -> None:
    async def lets_others_run(batch: Floats) -> Floats:
        await let_others_run()
        return batch

    batcher = Batcher(lets_others_run, Limits(max_rows=2, max_queue=4))
    many = asyncio.create_task(batcher.submit(rows(*range(8))))
    others = [asyncio.create_task(batcher.submit(rows(*range(8)), begun=Begun(8, inf))) for _ in range(4)]
    await asyncio.sleep(0)
    assert batcher.waiting_rows == 10
    with pytest.raises(QueueFull):
        await batcher.submit(rows(1, 2))
    answers = await asyncio.gather(many, *others)
    assert [len(answer) for answer in answers] == [4] * 5


SECOND = 100  # rows of one
LATE = 10.0  # seconds until a deadline, of which 8 may be promised


def slow() -> Batcher[Floats]:
    batcher = Batcher(Engine(), Limits())
    batcher.load.learn(SECOND, 1.0)
    return batcher


@pytest.mark.parametrize(
    ("left", "waits", "rows", "due", "begun"),
    [
        (700, LATE, 90, 90, True),  # together they are in time
        (700, LATE, 110, 110, False),  # those that are under way would be late
        (700, inf, 110, 110, True),  # unless they have all the time
        (900, LATE, 110, 110, True),  # or are late anyway
        (300, LATE, 600, 600, False),  # those that come would be late
        (300, LATE, 600, 490, True),  # unless only some of them are due then
        (300, LATE, 490, 490, True),  # as many come as can be done beside the rest
        (300, LATE, 3000, 64, True),  # of which no more get a turn than there are turns of the others
        (450, LATE, 3000, 64, False),
        (90, LATE, 700, 700, True),  # when others are nearly done
        (120, LATE, 700, 700, False),
        (70, 1.0, 90, 90, False),  # whoever has the least time of all
        (700, LATE, 40, 64, True),
    ],
)
async def test_what_is_begun_is_in_time_with_all_that_it_takes_turns_with(
    left: int, waits: float, rows: int, due: int, begun: bool
) -> None:
    """Else all would be late, and every run for nobody."""
    batcher, now = slow(), asyncio.get_running_loop().time()
    with batcher.begin(3000, now + waits, due=64) as before:
        before.left, before.deadline = left, now + waits
        others = set(batcher._admission.begun)
        expected = (
            nullcontext() if begun else pytest.raises(QueueFull, match=f"^{left} images of other requests")
        )
        with expected, batcher.begin(rows, now + LATE, due=due) as mine:
            assert batcher._admission.begun == others | {mine}
            assert mine.deadline == (now + LATE if due >= rows else inf)
        assert batcher._admission.begun == others
    assert not batcher._admission.begun


@pytest.mark.parametrize(("many", "more", "begun"), [(350, 350, True), (350, 500, False)])
async def test_parts_that_are_done_count_no_more(many: int, more: int, begun: bool) -> None:
    batcher = slow()
    late = asyncio.get_running_loop().time() + LATE
    engine = Engine()
    batcher._run = engine
    first = await occupied(engine, batcher)
    under_way = asyncio.create_task(batcher.submit(rows(*range(many)), deadline=late))
    await let_others_run()
    another = asyncio.create_task(batcher.submit(rows(*range(more)), deadline=late))
    await let_others_run()
    assert another.done() != begun
    engine.open.set()
    answers = await asyncio.gather(first, under_way, another, return_exceptions=True)
    assert [isinstance(answer, QueueFull) for answer in answers] == [False, False, not begun]
    assert not batcher._admission.begun


async def test_rows_are_counted_down_as_they_are_done() -> None:
    batcher, left = slow(), list[int]()

    async def noted(batch: Floats) -> Floats:
        left.extend(one.left for one in batcher._admission.begun)
        return batch

    batcher._run = noted
    await batcher.submit(rows(*range(150)))
    assert left == [150, 86, 22]


async def test_what_comes_too_late_or_at_the_end_is_told_so_and_not_that_there_is_too_much() -> None:
    batcher, now = slow(), asyncio.get_running_loop().time()
    with batcher.begin(900, now + LATE):
        with pytest.raises(DeadlinePassed):
            await batcher.submit(rows(1, 2), deadline=now - 1)
        await batcher.drain(0)
        with pytest.raises(NotReady):
            await batcher.submit(rows(*range(700)), deadline=now + LATE)


@pytest.mark.parametrize("gone", ["cancelled", "failed"])
async def test_rows_of_who_is_gone_are_under_way_no_more(gone: str) -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits())
    batcher.load.learn(100, 1.0)
    late = asyncio.get_running_loop().time() + 10
    first = await occupied(engine, batcher)
    many = asyncio.create_task(batcher.submit(rows(*range(750)), deadline=late, wanted=lambda: False))
    await let_others_run()
    if gone == "cancelled":
        many.cancel()
    engine.open.set()
    await asyncio.gather(first, many, return_exceptions=True)
    await occupied(engine, batcher)
    another = [asyncio.create_task(batcher.submit(rows(*range(375)), deadline=late)) for _ in range(2)]
    await let_others_run()
    engine.open.set()
    await asyncio.gather(*another)


@pytest.mark.parametrize(("singles", "more"), [(10, 740), (63, 690), (64, 350), (200, 350)])
async def test_single_rows_take_every_second_turn_from_what_would_be_late(singles: int, more: int) -> None:
    """As long as there are enough of them for a run, since others come then."""
    engine = Engine()
    batcher = Batcher(engine, Limits())
    batcher.load.learn(100, 1.0)
    late = asyncio.get_running_loop().time() + 10
    first = await occupied(engine, batcher)
    many = asyncio.create_task(batcher.submit(rows(*range(40)), deadline=late))
    others = [asyncio.create_task(batcher.submit(rows(n), deadline=late)) for n in range(singles)]
    await let_others_run()
    with pytest.raises(QueueFull):
        await batcher.submit(rows(*range(more + 20)), deadline=late)
    fits = asyncio.create_task(batcher.submit(rows(*range(more)), deadline=late))
    await let_others_run()
    engine.open.set()
    await asyncio.gather(first, many, fits, *others)


def under_way(
    admission: Admission, waiting: Lanes, requests: list[tuple[int, float, bool]], now: float
) -> None:
    """Requests with so many rows left and so many seconds, in the order in which they came; of some each part has that
    time for itself."""
    for number, (left, waits, by_parts) in enumerate(requests):
        begun = Begun(left, inf if by_parts else now + waits)
        admission.begun.add(begun)
        part = rows(*[number] * min(left, 64))
        waiting.append(Entry(part, now, now + waits, always, begun))


def turns(waiting: Lanes) -> list[int]:
    return [int(part.rows[0, 0]) for part in waiting]


@pytest.mark.parametrize(
    ("requests", "order"),
    [
        ([(500, 10, False), (400, 9, False)], [0, 1]),  # in turns all are in time
        ([(700, 10, False), (600, 9.5, False)], [1, 0]),  # in no order both are
        ([(500, 10, False), (400, 5, False)], [1, 0]),  # in turns the second would be late
        ([(600, 6.5, False), (600, 6.6, False)], [0, 1]),  # equals: who came first
        ([(900, 9.5, False), (300, 9.6, False), (300, 9.7, False)], [1, 2, 0]),  # two for one
        ([(300, 2, False), (400, 9, False), (400, 9.1, False)], [1, 2, 0]),  # who is late anyway
        ([(3000, 10, True), (400, 9, False)], [0, 1]),  # of which there are no more turns than the other has
        ([(3000, 10, True), (500, 9, False)], [1, 0]),
        ([(3000, 3, True), (850, 9.5, False)], [0, 1]),  # a part for itself takes hardly any time
    ],
)
async def test_where_some_would_be_late_as_many_as_can_be_are_in_time(
    requests: list[tuple[int, float, bool]], order: list[int]
) -> None:
    waiting = Lanes()
    admission = Admission(Limits(), waiting, part_rows=64)
    admission.load.learn(SECOND, 1.0)
    under_way(admission, waiting, requests, asyncio.get_running_loop().time())
    admission.order_parts()
    assert turns(waiting) == order


async def test_singles_take_their_turns_from_what_is_to_be_in_time() -> None:
    waiting = Lanes()
    admission = Admission(Limits(), waiting, part_rows=64)
    admission.load.learn(SECOND, 1.0)
    now = asyncio.get_running_loop().time()
    for _ in range(64):
        waiting.append(Entry(rows(9), now, inf, always))
    under_way(admission, waiting, [(400, 9, False), (300, 8.9, False)], now)
    admission.order_parts()
    assert turns(waiting)[64:] == [1, 0]


async def test_what_is_under_way_is_looked_through_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, waiting = asyncio.get_running_loop(), Lanes()
    now = loop.time()
    admission = Admission(Limits(), waiting, part_rows=64)
    admission.load.learn(SECOND, 1.0)
    under_way(admission, waiting, [(500, 10, False), (400, 9, False)], now)
    admission.order_parts()
    under_way(admission, waiting, [(300, 2, False), (700, 9, False)], now)
    expected = [[0, 1, 0, 1], [0, 1, 0, 1], [1, 0, 0, 1]]
    for after, order in zip((0.0, 0.09, 0.11), expected, strict=True):
        monkeypatch.setattr(loop, "time", lambda after=after: now + after)
        admission.order_parts()
        assert turns(waiting) == order


@pytest.mark.parametrize(("takes", "most"), [(0.002, 3), (0.000_01, 100)])
async def test_the_order_takes_a_twentieth_of_the_time_at_most(
    takes: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, waiting = asyncio.get_running_loop(), Lanes()
    now = loop.time()
    times = 0

    def as_they_are(parts: Iterable[Entry], *_: Any) -> list[Entry]:
        nonlocal now, times
        times, now = times + 1, now + takes
        return list(parts)

    monkeypatch.setattr(loop, "time", lambda: now)
    monkeypatch.setattr("service.admission.most_in_time", as_they_are)
    admission = Admission(Limits(), waiting, part_rows=64)
    admission.load.learn(SECOND, 1.0)
    under_way(admission, waiting, [(700, 10, False), (600, 9.5, False)], now)
    for _ in range(100):
        admission.order_parts()
        now += 0.001
    assert times == most


@pytest.mark.parametrize(
    ("sizes", "rows_a_second", "order"),
    [
        ([192, 192, 192], 10_000, [0, 1, 2, 0, 1, 2, 0, 1, 2]),
        ([192, 192, 192], 30, [0, 1, 0, 1, 0, 1, 2, 2, 2]),
        ([320, 192], 40, [1, 0, 1, 0, 1, 0, 0, 0]),
    ],
)
async def test_requests_are_late_one_by_one_and_not_all_together(
    sizes: list[int], rows_a_second: int, order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part comes when the one before is done, which is just after the next run has begun."""
    monkeypatch.setattr("service.admission.ORDERING", inf)  # runs take no time here
    ran: list[int] = []

    async def lets_others_run(batch: Floats) -> Floats:
        ran.append(int(batch[0, 0]))
        await let_others_run()
        return batch

    batcher = Batcher(lets_others_run, Limits())
    late = asyncio.get_running_loop().time() + LATE
    requests = [
        asyncio.create_task(batcher.submit(rows(*[number] * size), deadline=late + number))
        for number, size in enumerate(sizes)
    ]
    await asyncio.sleep(0)
    batcher.load.learn(1000 * rows_a_second, 1000.0)  # slower than it was when they were begun
    await asyncio.gather(*requests)
    assert ran == order
