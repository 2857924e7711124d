"""The batcher with runs that the tests hold open, so that nothing depends on time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import service.batcher
from service.admission import Limits
from service.batcher import Batcher, RunError
from service.callers import CallerGoneError
from service.errors import DeadlinePassed, NotReady, QueueFull
from tests.service.loop_turns import LoopTurns
from tests.service.test_load import flood

Floats = NDArray[np.float64]


def rows(*values: float) -> Floats:
    return np.array([[value] for value in values])


class Engine:
    """Doubles each row. While `open` is not set, runs wait: the engine is busy for as long as a test wants."""

    def __init__(self) -> None:
        self.runs: list[list[float]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.busy = asyncio.Event()

    async def __call__(self, batch: Floats) -> Floats:
        self.runs.append(batch[:, 0].tolist())
        self.busy.set()
        await self.open.wait()
        return batch * 2


async def occupied(engine: Engine, batcher: Batcher[Floats]) -> asyncio.Task[list[Floats]]:
    """Starts a run that stays in the engine until `engine.open` is set."""
    engine.open.clear()
    engine.busy.clear()
    first = asyncio.create_task(batcher.submit(rows(0)))
    await engine.busy.wait()
    return first


def only_single(
    engine: Engine, ran: list[list[float]] | None = None
) -> Callable[[Floats], Coroutine[Any, Any, Floats]]:
    """An engine that can do no more than one row in a run. `ran` is told all that it was given."""

    async def run(batch: Floats) -> Floats:
        if ran is not None:
            ran.append(batch[:, 0].tolist())
        if len(batch) > 1:
            raise ArithmeticError
        return await engine(batch)

    return run


def flooded(batcher: Batcher[Floats]) -> None:
    flood(batcher.load, until=asyncio.get_running_loop().time())


async def let_others_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_each_caller_gets_its_own_rows() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=4))
    answers = await asyncio.gather(*(batcher.submit(rows(*range(n))) for n in (1, 3, 2)))
    assert [[part[:, 0].tolist() for part in answer] for answer in answers] == [[[0]], [[0, 2, 4]], [[0, 2]]]
    assert engine.runs == [[0, 0, 1, 2], [0, 1]]


async def test_callers_of_one_turn_share_a_run() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits())
    await asyncio.gather(*(batcher.submit(rows(n)) for n in range(10)))
    assert engine.runs == [list(range(10))]


@pytest.mark.parametrize(
    ("allowed", "runs"),
    [
        (0, [2, 2, 2, 2, 2]),
        (4, [4, 4, 2]),
        (5, [4, 4, 2]),
        (7, [8, 2]),
        (1000, [8, 2]),
    ],  # whole parts, and 9 at most
)
async def test_a_run_has_as_many_rows_as_it_is_allowed_but_no_more_than_the_limit(
    allowed: int, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.batcher, "USUAL_ROWS", 2)
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=9))
    batcher.let_run(allowed)
    await asyncio.gather(*(batcher.submit(rows(n, n)) for n in range(5)))
    assert [len(run) for run in engine.runs] == runs


async def test_more_rows_than_are_usual_are_run_where_nobody_has_forbidden_it_only_if_they_are_allowed() -> (
    None
):
    engine = Engine()
    batcher = Batcher(engine, Limits())
    await batcher.submit(rows(*range(100)))
    assert [len(run) for run in engine.runs] == [64, 36]


async def test_parts_that_come_while_another_waits_for_its_run_share_it() -> None:
    """Whose requests are in the sockets already: a turn is little beside many rows."""
    engine = Engine()
    batcher = Batcher(engine, Limits())
    first = asyncio.create_task(batcher.submit(rows(1, 2)))
    await asyncio.sleep(0)  # it is queued, and its run would begin in the next turn
    second = asyncio.create_task(batcher.submit(rows(3, 4)))
    answers = await asyncio.gather(first, second)
    assert engine.runs == [[1, 2, 3, 4]]
    assert [part[:, 0].tolist() for [part] in answers] == [[2, 4], [6, 8]]


async def test_a_caller_alone_never_waits() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_wait=3600))
    assert (await batcher.submit(rows(1)))[0].tolist() == [[2]]


class AtOnce:
    """A batcher that may ask for results at once; notes for which rows it did, and whether it was for one alone."""

    def __init__(self) -> None:
        self.engine, self.observed = Engine(), list[int]()
        self.rows, self.shared = list[float](), list[list[float]]()
        self.blocks, self.fails = False, False
        self.batcher = Batcher(self.engine, Limits(), self.observed.append, self._results)

    def _results(self, batch: Floats) -> Floats | None:
        values: list[float] = batch[:, 0].tolist()
        if self.batcher.busy:
            self.shared.append(values)
        else:
            self.rows += values
        if self.fails:
            raise ArithmeticError
        return None if self.blocks else batch * 2

    async def come(self, *numbers: int) -> list[float]:
        """Callers of one turn, let in in the one before."""
        for _ in numbers:
            assert self.batcher.admit_coming() is None
        calls = [asyncio.create_task(self.batcher.submit(rows(n))) for n in numbers]
        return [float(part[0, 0]) for [part] in await asyncio.gather(*calls)]


async def test_who_is_alone_is_answered_at_once() -> None:
    alone = AtOnce()
    for n in (1, 2, 3):
        assert await alone.come(n) == [2 * n]
    assert (alone.rows, alone.shared, alone.observed) == ([1, 2, 3], [], [1, 1, 1])
    assert alone.batcher.load._came == 3
    assert not alone.engine.runs


async def test_who_is_not_alone_shares_a_run_as_long_as_others_come() -> None:
    alone = AtOnce()
    assert await alone.come(1, 2) == [2, 4]
    assert await alone.come(3) == [6]  # the run before had two
    assert await alone.come(4) == [8]
    assert (alone.rows, alone.shared, alone.observed) == ([4], [[1, 2], [3]], [2, 1, 1])
    assert not alone.engine.runs


async def test_who_is_alone_waits_for_a_run_that_is_on_and_for_one_that_would_block() -> None:
    alone = AtOnce()
    alone.blocks = True
    first = await occupied(alone.engine, alone.batcher)
    later = asyncio.create_task(alone.come(1))
    await let_others_run()
    assert not later.done()
    alone.engine.open.set()
    await asyncio.gather(first, later)
    assert not alone.rows
    assert await alone.come(2) == [4]
    assert (alone.rows, alone.engine.runs) == ([2], [[0], [1], [2]])


async def test_who_comes_alone_while_a_run_is_on_waits_for_it_even_where_another_would_not_block() -> None:
    alone = AtOnce()
    alone.blocks = True
    first = await occupied(alone.engine, alone.batcher)
    alone.blocks = False
    later = asyncio.create_task(alone.come(1))
    await let_others_run()
    assert (later.done(), alone.rows, alone.shared) == (False, [], [[0]])
    alone.engine.open.set()
    await asyncio.gather(first, later)


async def test_who_is_submitted_together_shares_a_run_also_after_one_who_was_alone() -> None:
    """As the last image of each of several requests: nobody let them in, and so nobody knows that they are alone."""
    alone = AtOnce()
    assert await alone.come(1) == [2]
    await asyncio.gather(*(alone.batcher.submit(rows(n)) for n in (2, 3)))
    assert (alone.rows, alone.shared) == ([1], [[2, 3]])


async def test_too_few_results_for_one_alone_are_an_error() -> None:
    batcher = Batcher(Engine(), Limits(), at_once=lambda batch: batch[1:])
    assert batcher.admit_coming() is None
    await asyncio.sleep(0)
    with pytest.raises(RunError, match="0 results for 1 rows"):
        await batcher.submit(rows(1))


async def test_who_is_alone_is_told_of_what_failed_and_the_next_is_answered() -> None:
    alone = AtOnce()
    alone.fails = True
    with pytest.raises(RunError) as raised:
        await alone.come(1)
    assert isinstance(raised.value.__cause__, ArithmeticError)
    alone.fails = False
    assert await alone.come(2) == [4]
    assert alone.batcher.admit_coming() is None
    await asyncio.sleep(0)
    with pytest.raises(CallerGoneError):
        await alone.batcher.submit(rows(5), wanted=lambda: False)
    assert alone.batcher.admit_coming() is None
    await asyncio.sleep(0)
    with pytest.raises(DeadlinePassed):
        await alone.batcher.submit(rows(3), deadline=asyncio.get_running_loop().time() - 1)
    await alone.batcher.drain(0)
    assert alone.batcher.admit_coming() is None
    await asyncio.sleep(0)
    with pytest.raises(NotReady):
        await alone.batcher.submit(rows(4))
    assert alone.rows == [1, 2]


async def turns_of_runs(*submissions: Floats) -> list[int]:
    """In which turns of the loop the runs at once were that answer these, two rows each at most."""
    turns = LoopTurns()

    def results(batch: Floats) -> Floats:
        turns.note()
        return batch * 2

    batcher = Batcher(Engine(), Limits(max_rows=2), at_once=results)
    with turns.counted():
        await asyncio.gather(*map(batcher.submit, submissions))
    return turns.noted


@pytest.mark.parametrize(("seconds", "turns"), [(0, [0, 2, 4, 6]), (3600, [0, 0, 0, 0])])
async def test_full_runs_at_once_give_the_loop_back_before_they_have_had_it_for_too_long(
    seconds: float, turns: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.batcher, "LONGEST_TURN", seconds)
    assert await turns_of_runs(*(rows(n, n) for n in range(4))) == turns


async def test_a_run_at_once_gives_the_loop_back_where_the_next_would_not_be_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others may have come meanwhile."""
    monkeypatch.setattr(service.batcher, "LONGEST_TURN", 3600)
    assert await turns_of_runs(rows(1), rows(2), rows(3)) == [0, 1]


async def test_runs_at_once_that_fail_give_the_loop_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.batcher, "LONGEST_TURN", 0)
    turns = LoopTurns()

    def fails(_: Floats) -> Floats:
        turns.note()
        raise ArithmeticError

    batcher = Batcher(Engine(), Limits(max_rows=2), at_once=fails)
    with turns.counted():
        calls = (batcher.submit(rows(n, n)) for n in range(3))
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [RunError] * 3
    assert turns.noted == [0, 2, 4]


async def test_waiting_for_company_ends_when_the_run_is_full() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=3, max_wait=3600))
    callers = [asyncio.create_task(batcher.submit(rows(n))) for n in range(2)]
    await let_others_run()
    assert engine.runs == []
    await asyncio.gather(batcher.submit(rows(2)), *callers)
    assert engine.runs == [[0, 1, 2]]


async def test_waiting_for_company_ends_in_time() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=3, max_wait=0.001))
    await asyncio.gather(batcher.submit(rows(0)), batcher.submit(rows(1)))
    assert engine.runs == [[0, 1]]


@pytest.mark.parametrize("draining", [False, True])
async def test_nobody_waits_for_company_any_more_while_draining(draining: bool) -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_wait=3600))
    first = [await occupied(engine, batcher)] if draining else []
    callers = [asyncio.create_task(batcher.submit(rows(n))) for n in (1, 2)]
    await let_others_run()
    drain = asyncio.create_task(batcher.drain(3600))
    await let_others_run()
    engine.open.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*first, *callers, drain)
    assert engine.runs[-1] == [1, 2]


async def test_nobody_waits_for_company_for_more_than_half_of_the_time_there_is() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_wait=10**6))
    first = await occupied(engine, batcher)
    late = asyncio.get_running_loop().time() + 3600
    callers = [asyncio.create_task(batcher.submit(rows(n), deadline=late)) for n in (1, 2)]
    await let_others_run()
    [*batcher._waiting][1].since -= 3600
    engine.open.set()
    async with asyncio.timeout(10):
        await asyncio.gather(first, *callers)
    assert engine.runs == [[0], [1, 2]]


@pytest.mark.parametrize(("most", "waited"), [(3, 0), (100, 3600)])
async def test_after_a_run_nobody_waits_for_company_that_is_there_or_for_longer_than_the_limit(
    most: int, waited: float
) -> None:
    """Seconds that the oldest has waited while the engine was busy count."""
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=most, max_wait=3600))
    first = await occupied(engine, batcher)
    part = asyncio.create_task(batcher.submit(rows(1, 2)))
    await let_others_run()
    for entry in batcher._waiting:
        entry.since -= waited
    single = asyncio.create_task(batcher.submit(rows(3)))
    await let_others_run()
    engine.open.set()
    async with asyncio.timeout(10):
        await asyncio.gather(first, part, single)
    assert engine.runs == [[0], [1, 2, 3]]


async def test_rows_gather_while_the_engine_is_busy() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=8))
    first = await occupied(engine, batcher)
    others = [asyncio.create_task(batcher.submit(rows(n))) for n in (1, 2, 3)]
    await let_others_run()
    assert engine.runs == [[0]]
    assert batcher.waiting_rows == 3
    engine.open.set()
    await asyncio.gather(first, *others)
    assert engine.runs == [[0], [1, 2, 3]]
    assert batcher.waiting_rows == 0


async def test_a_long_submission_lets_others_in_between() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=2))
    long, short = await asyncio.gather(batcher.submit(rows(1, 2, 3, 4, 5)), batcher.submit(rows(9)))
    assert np.concatenate(long)[:, 0].tolist() == [2, 4, 6, 8, 10]
    assert short[0].tolist() == [[18]]
    assert engine.runs.index([9]) < len(engine.runs) - 1


async def test_single_rows_and_long_parts_take_turns() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=2))
    first = await occupied(engine, batcher)
    parts = [asyncio.create_task(batcher.submit(rows(10 + n, 20 + n))) for n in range(2)]
    await let_others_run()
    singles = [asyncio.create_task(batcher.submit(rows(n))) for n in (1, 2, 3)]
    await let_others_run()
    engine.open.set()
    await asyncio.gather(first, *parts, *singles)
    assert engine.runs == [[0], [10, 20], [1, 2], [11, 21], [3]]


async def test_a_run_takes_those_along_who_were_let_in_before_it() -> None:
    engine = Engine()
    engine.open.set()
    batcher = Batcher(engine, Limits())
    first = asyncio.create_task(batcher.submit(rows(1)))
    await asyncio.sleep(0)  # the run will begin in the next turn
    assert batcher.admit_coming() is None
    second = asyncio.create_task(batcher.submit(rows(2)))
    await asyncio.gather(first, second)
    assert engine.runs == [[1, 2]]


async def test_a_run_waits_for_those_who_are_let_in_turn_after_turn() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=3))
    callers = [asyncio.create_task(batcher.submit(rows(0)))]
    for n in (1, 2, 3):
        await asyncio.sleep(0)
        assert batcher.admit_coming() is None
        callers.append(asyncio.create_task(batcher.submit(rows(n))))
    await asyncio.gather(*callers)
    assert engine.runs == [[0, 1, 2], [3]]


async def test_a_run_does_not_wait_for_those_who_are_let_in_and_do_not_come() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits())
    caller = asyncio.create_task(batcher.submit(rows(0)))
    for _ in range(10):
        await asyncio.sleep(0)
        assert batcher.admit_coming() is None
    assert engine.runs == [[0]]
    await caller


async def test_a_flooded_engine_has_runs_of_several_rows_however_slow_it_is() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_delay=100, max_queue=50, max_overload_delay=0.001))
    batcher.load.learn(rows=1, seconds=1)
    first = await occupied(engine, batcher)
    waiting = [asyncio.create_task(batcher.submit(rows(n))) for n in range(50)]
    await let_others_run()
    flooded(batcher)
    engine.open.set()
    await asyncio.gather(first, *waiting)
    # The loop is free again, and the flood is still there.
    assert [batcher.admit_coming() is None for _ in range(5)] == [True] * 4 + [False]


async def test_a_cancelled_caller_is_not_run_and_strands_nobody() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits())
    first = await occupied(engine, batcher)
    callers = [asyncio.create_task(batcher.submit(rows(n))) for n in (1, 2, 3)]
    await let_others_run()
    callers[1].cancel()
    engine.open.set()
    await asyncio.gather(first, callers[0], callers[2])
    assert engine.runs == [[0], [1, 3]]


async def test_a_caller_cancelled_during_the_run_strands_nobody() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits())
    engine.open.clear()
    engine.busy.clear()
    one, two = (asyncio.create_task(batcher.submit(rows(n))) for n in (1, 2))
    await engine.busy.wait()
    one.cancel()
    engine.open.set()
    assert (await two)[0].tolist() == [[4]]


async def test_a_caller_cancelled_during_a_run_that_fails_strands_nobody() -> None:
    fail = asyncio.Event()

    async def fails(_: Floats) -> Floats:
        await fail.wait()
        raise ArithmeticError

    batcher = Batcher(fails, Limits())
    one, two = (asyncio.create_task(batcher.submit(rows(n))) for n in (1, 2))
    await let_others_run()
    one.cancel()
    fail.set()
    async with asyncio.timeout(10):
        with pytest.raises(RunError):
            await two


async def test_a_caller_cancelled_during_a_run_that_never_ends_keeps_nobody_from_being_told_of_the_stop() -> (
    None
):
    engine = Engine()
    batcher = Batcher(engine, Limits())
    first = await occupied(engine, batcher)
    second = asyncio.create_task(batcher.submit(rows(1)))
    await let_others_run()
    first.cancel()
    await let_others_run()
    await batcher.drain(0)
    with pytest.raises(NotReady):
        await second


async def test_rows_nobody_wants_any_more_are_dropped() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits())
    first = await occupied(engine, batcher)
    gone = asyncio.create_task(batcher.submit(rows(1), wanted=lambda: False))
    here = asyncio.create_task(batcher.submit(rows(2), wanted=lambda: True))
    await let_others_run()
    engine.open.set()
    await asyncio.gather(first, here)
    with pytest.raises(CallerGoneError):
        await gone
    assert engine.runs == [[0], [2]]


async def test_rows_that_are_dropped_leave_their_room_in_the_queue_and_in_the_run() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=3))
    first = await occupied(engine, batcher)
    gone = asyncio.create_task(batcher.submit(rows(1), wanted=lambda: False))
    cancelled = asyncio.create_task(batcher.submit(rows(2)))
    here = [asyncio.create_task(batcher.submit(rows(n))) for n in (3, 4, 5)]
    await let_others_run()
    cancelled.cancel()
    engine.open.set()
    await asyncio.gather(first, gone, *here, return_exceptions=True)
    assert engine.runs == [[0], [3, 4, 5]]
    assert batcher.waiting_rows == 0


@pytest.mark.parametrize("values", [(1,), (1, 2)])
async def test_every_deadline_ends_a_wait_and_not_only_the_first(values: tuple[int, ...]) -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits())
    first = await occupied(engine, batcher)
    now = asyncio.get_running_loop().time()
    calls = [batcher.submit(rows(*values), deadline=now + wait) for wait in (0.03, 0.01, 0.02)]
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*calls, return_exceptions=True)
    told = "DeadlinePassed('the answer was not ready within the time allowed for one request')"
    assert [repr(answer) for answer in answers] == [told] * 3
    engine.open.set()
    await first


async def test_a_past_deadline_ends_the_wait_and_the_row_is_not_run() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits())
    first = await occupied(engine, batcher)
    now = asyncio.get_running_loop().time()
    later = asyncio.create_task(batcher.submit(rows(2), deadline=now + 3600))
    await let_others_run()  # its deadline is the first to be watched
    async with asyncio.timeout(10):
        with pytest.raises(DeadlinePassed):
            await batcher.submit(rows(1), deadline=now + 0.01)
    engine.open.set()
    await asyncio.gather(first, later)
    assert engine.runs == [[0], [2]]


async def test_a_deadline_ends_also_the_wait_for_a_run_that_is_on() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits())
    engine.open.clear()
    engine.busy.clear()
    with pytest.raises(DeadlinePassed):
        await batcher.submit(rows(1), deadline=asyncio.get_running_loop().time() + 0.01)
    engine.open.set()
    assert (await batcher.submit(rows(2)))[0].tolist() == [[4]]


async def test_whose_many_rows_take_too_long_is_told_how_many_did_not() -> None:
    stuck = asyncio.Event()

    async def stops_at_4(batch: Floats) -> Floats:
        if 4 in batch:
            await stuck.wait()
        return batch

    batcher = Batcher(stops_at_4, Limits(max_rows=2))
    told = "^4 of 7 images were answered within the time allowed for one request: send fewer at once$"
    with pytest.raises(DeadlinePassed, match=told):
        await batcher.submit(rows(*range(7)), deadline=asyncio.get_running_loop().time() + 0.05)
    stuck.set()


async def test_a_deadline_that_is_over_is_refused_at_once() -> None:
    batcher = Batcher(Engine(), Limits())
    with pytest.raises(DeadlinePassed):
        await batcher.submit(rows(1), deadline=asyncio.get_running_loop().time() - 1)


@pytest.mark.parametrize("at_once", [False, True])
async def test_rows_that_an_engine_cannot_do_fail_nobody_but_their_caller(at_once: bool) -> None:
    ran: list[list[float]] = []

    def fails_on_13(batch: Floats) -> Floats:
        ran.append(batch[:, 0].tolist())
        if 13 in batch:
            raise ArithmeticError("13")
        return batch

    async def awaited(batch: Floats) -> Floats:
        return fails_on_13(batch)

    batcher = Batcher(
        awaited, Limits(max_rows=4, max_wait=0.001), at_once=fails_on_13 if at_once else lambda _: None
    )
    calls = (batcher.submit(rows(*each)) for each in ([1, 2], [13], [3], [4], [5]))
    one, bad, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(bad, RunError)
    assert isinstance(bad.__cause__, ArithmeticError)
    answers = [answer[0].tolist() for answer in (one, *others) if not isinstance(answer, BaseException)]
    assert answers == [[[1], [2]], [[3]], [[4]], [[5]]]
    assert ran[0] in ([13, 3, 4, 5], [1, 2, 13, 3])  # and then each by itself, before anybody else
    assert sorted(len(each) for each in ran[1:5]) in ([1, 1, 1, 1], [1, 1, 1, 2])


@pytest.mark.parametrize(("fail", "told"), [(7, 10), (8, 0)])
async def test_an_engine_that_cannot_do_anything_is_not_tried_for_each(fail: int, told: int) -> None:
    """Where the first eight of a failed run fail again, all others are told."""
    ran = 0

    async def fails(batch: Floats) -> Floats:
        nonlocal ran
        ran += 1
        if len(batch) > 1 or batch[0, 0] < fail:
            raise ArithmeticError
        return batch

    batcher = Batcher(fails, Limits())
    calls = (batcher.submit(rows(n)) for n in range(fail + 10))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(not isinstance(answer, BaseException) for answer in answers) == told
    assert {type(answer) for answer in answers} <= {RunError, list}
    assert ran == 1 + fail + told


async def test_rows_that_wait_for_a_second_run_count() -> None:
    engine = Engine()
    engine.open.clear()

    batcher = Batcher(only_single(engine), Limits(max_delay=3.5))
    batcher.load.learn(rows=1, seconds=1)
    calls = [asyncio.create_task(batcher.submit(rows(n))) for n in range(4)]
    await engine.busy.wait()
    assert batcher.waiting_rows == 3
    let_in = asyncio.create_task(batcher.submit(rows(9)))  # the first in its lane always is
    await let_others_run()
    with pytest.raises(QueueFull, match="5 s of work"):
        await batcher.submit(rows(9))
    engine.open.set()
    await asyncio.gather(*calls, let_in)
    assert batcher.waiting_rows == 0
    assert batcher._admission.running_rows == 0


async def test_a_second_run_waits_for_no_company() -> None:
    async def fails_on_13(batch: Floats) -> Floats:
        if 13 in batch:
            raise ArithmeticError
        return batch

    batcher = Batcher(fails_on_13, Limits(max_wait=0.001))
    bad, good = await asyncio.gather(
        batcher.submit(rows(13)), batcher.submit(rows(1)), return_exceptions=True
    )
    assert isinstance(bad, RunError)
    assert not isinstance(good, BaseException)


async def test_who_waits_for_a_second_run_has_a_deadline_and_may_leave() -> None:
    engine, ran = Engine(), list[list[float]]()

    engine.open.clear()
    batcher = Batcher(only_single(engine, ran), Limits())
    now = asyncio.get_running_loop().time()
    one = asyncio.create_task(batcher.submit(rows(1)))
    late = asyncio.create_task(batcher.submit(rows(2), deadline=now + 0.05))
    gone = asyncio.create_task(batcher.submit(rows(3), wanted=lambda: len(ran) < 2))
    last = asyncio.create_task(batcher.submit(rows(4)))
    with pytest.raises(DeadlinePassed):
        await late
    engine.open.set()
    assert (await one)[0].tolist() == [[2]]
    with pytest.raises(CallerGoneError):
        await gone
    assert (await last)[0].tolist() == [[8]]
    assert ran == [[1, 2, 3, 4], [1], [4]]
    assert not batcher.busy


async def test_who_waits_for_a_second_run_is_told_of_the_stop() -> None:
    engine = Engine()
    engine.open.clear()

    batcher = Batcher(only_single(engine), Limits())
    calls = [asyncio.create_task(batcher.submit(rows(n))) for n in range(3)]
    await engine.busy.wait()
    await batcher.drain(0)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [NotReady] * 3


async def test_an_engine_that_is_not_there_tells_each_caller() -> None:
    async def is_not_there(batch: Floats) -> Floats:
        raise NotReady("its file has changed")

    batcher = Batcher(is_not_there, Limits())
    calls = (batcher.submit(rows(n)) for n in (1, 2))
    one, another = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(one, NotReady)
    assert isinstance(another, NotReady)
    assert one.detail == another.detail == "its file has changed"
    assert one is not another


async def test_too_few_results_are_an_error_and_no_shift() -> None:
    async def loses_one(batch: Floats) -> Floats:
        return batch[1:]

    with pytest.raises(RunError, match="1 results for 2 rows"):
        await Batcher(loses_one, Limits()).submit(rows(1, 2))


async def test_rows_of_unlike_shapes_have_runs_of_their_own() -> None:
    batcher = Batcher(Engine(), Limits())
    calls = (batcher.submit(rows(1)), batcher.submit(np.zeros((1, 2))))
    one, another = await asyncio.gather(*calls)
    assert (one[0].tolist(), another[0].tolist()) == ([[2]], [[0, 0]])


async def test_draining_finishes_what_is_queued_and_takes_nothing_more() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=1))
    first = await occupied(engine, batcher)
    second = asyncio.create_task(batcher.submit(rows(1)))
    await let_others_run()
    drain = asyncio.create_task(batcher.drain(3600))
    await let_others_run()
    with pytest.raises(NotReady):
        await batcher.submit(rows(2))
    engine.open.set()
    await asyncio.gather(first, second, drain)
    assert engine.runs == [[0], [1]]


async def test_draining_has_a_limit() -> None:
    engine = Engine()
    batcher = Batcher(engine, Limits(max_rows=2))
    first = await occupied(engine, batcher)
    second = asyncio.create_task(batcher.submit(rows(1)))
    part = asyncio.create_task(batcher.submit(rows(2, 3)))
    await let_others_run()
    await batcher.drain(0.01)
    answers = await asyncio.gather(first, second, part, return_exceptions=True)
    assert all(isinstance(answer, NotReady) for answer in answers)
    assert batcher.waiting_rows == 0
    await let_others_run()
    assert not batcher.busy  # nor waits for the engine, which may never end
    assert engine.runs == [[0]]


async def test_runs_are_observed_by_rows() -> None:
    seen: list[int] = []
    batcher = Batcher(Engine(), Limits(max_rows=4), seen.append)
    await batcher.submit(rows(*range(6)))
    assert seen == [4, 2]
