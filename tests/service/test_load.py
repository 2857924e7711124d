from math import inf

import pytest

from service.load import (
    LASTING,
    LONGEST_REST,
    MOST_ROWS,
    SINGLE_RUNS,
    SMALL_RUN,
    WORTH_COUNTING,
    WORTH_REFUSING,
    Load,
)

SLOW = 8 * WORTH_REFUSING  # seconds of a row


def flood(load: Load, until: float) -> None:
    """As if all callers of the last seconds had been refused, many more than could be answered."""
    load._counted = -inf  # of those who came meanwhile nothing is known
    for at in range(400):
        load.count(refused=True, now=until - 2 + at / 200, callers=5)


def load_of(seconds: float, *, refused: int, during: float = 1.5 * LASTING, admitted: int = 0) -> Load:
    """Of rows that take so long, after so many callers were refused and then so many admitted."""
    load = Load()
    load.learn(rows=10, seconds=10 * seconds)
    for at in range(refused):
        load.count(refused=True, now=at * during / refused, callers=5)
    for _ in range(admitted):
        load.count(refused=False, now=during)
    return load


def test_the_time_of_a_row_follows_the_latest_runs_weighed_by_their_rows() -> None:
    load = Load()
    assert load.seconds(1) == 0
    load.learn(rows=100, seconds=1.0)
    load.learn(rows=1, seconds=0.05)  # one that was held up
    assert load.seconds(1) == pytest.approx(0.85 / 81)
    for _ in range(40):
        load.learn(rows=100, seconds=2.0)
    assert load.seconds(10) == pytest.approx(0.2, rel=1e-3)


@pytest.mark.parametrize(
    ("load", "overloaded"),
    [
        (load_of(SLOW, refused=0), False),
        (load_of(SLOW, refused=200), True),
        (load_of(SLOW, refused=200, admitted=300), False),
        (load_of(SLOW, refused=1000, during=0.9 * LASTING), False),  # of few who ask again and again, perhaps
        (load_of(WORTH_REFUSING / 2, refused=200), False),  # answering is hardly more work
    ],
)
def test_a_flood_is_many_refusals_that_last_and_spare_work(load: Load, overloaded: bool) -> None:
    assert load.overloaded is overloaded


def test_however_many_come_there_is_no_flood_where_answering_is_hardly_more_work() -> None:
    load = Load()
    load.learn(rows=10, seconds=10 * 0.9 * WORTH_REFUSING)
    for at in range(400):
        load.count(refused=True, now=at / 200, callers=50)
    assert not load.overloaded


def test_a_flood_has_to_last_also_where_many_came_before() -> None:
    load = Load()
    load.learn(rows=10, seconds=10 * SLOW)
    for refused, during, overloaded in ((False, 4.0, False), (True, 0.9, False), (True, 0.2, True)):
        began = 0.0 if load._counted < 0 else load._counted
        for at in range(100):
            load.count(refused=refused, now=began + at / 100 * during * LASTING, callers=20)
        assert load.overloaded is overloaded


def test_a_flood_is_forgotten_when_nobody_comes() -> None:
    load = load_of(SLOW, refused=200)
    assert load.overloaded
    load.hear(now=10.0)  # before it is known whether whoever comes then is refused
    assert not load.overloaded
    load.count(refused=True, now=10.0)
    assert not load.overloaded


@pytest.mark.parametrize(("share", "ends"), [(0.8, True), (1.2, False)])
def test_a_flood_ends_when_fewer_come_than_can_be_answered_even_if_most_are_refused(
    share: float, ends: bool
) -> None:
    """As of bursts that a short queue has no room for."""
    load = Load()
    load.learn(rows=10, seconds=10 * SLOW)
    flood(load, until=10.0)
    assert load.overloaded
    period = 0.1
    burst = round(share * period / SLOW)
    for at in range(20):
        load.count(refused=True, now=10.0 + at * period, callers=burst)
    assert load.overloaded is not ends


def test_rows_count_and_not_those_who_bring_them() -> None:
    load = Load()
    load.learn(rows=10, seconds=10 * SLOW)
    for at in range(200):
        load.count(refused=True, now=at / 100, rows=10)
    assert load.overloaded


def test_who_was_refused_rests_for_a_small_run_but_not_for_long() -> None:
    assert load_of(SLOW, refused=0).rest == pytest.approx(SMALL_RUN * SLOW)
    assert SMALL_RUN * SLOW < LONGEST_REST
    assert load_of(1.0, refused=0).rest == LONGEST_REST
    assert load_of(WORTH_REFUSING / 2, refused=0).rest == 0


def test_rows_that_hardly_take_time_may_wait() -> None:
    assert load_of(0.9 * WORTH_COUNTING, refused=0).longest_delay(0.1, usual=0.01, flooded=0.005) == inf
    assert load_of(1.1 * WORTH_COUNTING, refused=0).longest_delay(0.1, usual=0.01, flooded=0.005) == 0.01


def test_the_delay_is_short_in_a_flood_but_for_a_small_run() -> None:
    flood, calm = load_of(SLOW, refused=200), load_of(SLOW, refused=0)
    assert calm.longest_delay(0.1, usual=0.25, flooded=0.02) == 0.25
    assert flood.longest_delay(0.1, usual=0.25, flooded=0.02) == 0.02
    assert flood.longest_delay(0.1, usual=0.01, flooded=0.02) == 0.01
    assert flood.longest_delay(0.1, usual=0.25, flooded=0.001) == pytest.approx((SMALL_RUN - 1 / 2) * SLOW)


def test_the_more_a_run_takes_by_itself_the_more_rows_it_has_in_a_flood() -> None:
    load = Load()
    for _ in range(20):
        load.learn(rows=1, seconds=3 * SLOW)
        load.learn(rows=8, seconds=8 * SLOW)
    flood(load, until=10.0)
    delay = load.longest_delay(0.1, usual=0.25, flooded=0.001)
    rows = SINGLE_RUNS * 3 * SLOW / load.seconds(1)
    assert delay == pytest.approx((round(rows) - 1 / 2) * load.seconds(1))
    assert rows > SMALL_RUN + 1
    assert load.rest == LONGEST_REST


def test_a_single_row_that_was_held_up_is_no_long_run() -> None:
    load = Load()
    load.learn(rows=1, seconds=SLOW)
    load.learn(rows=1, seconds=1000 * SLOW)
    for _ in range(40):
        load.learn(rows=10, seconds=10 * SLOW)
    flood(load, until=10.0)
    assert load.longest_delay(0.1, usual=0.25, flooded=0.001) == pytest.approx(
        (round(SINGLE_RUNS) - 1 / 2) * SLOW, rel=1e-2
    )


def test_a_first_run_that_took_much_too_long_is_no_reason_for_long_ones() -> None:
    load = Load()
    load.learn(rows=1, seconds=10.0)
    for _ in range(100):
        load.learn(rows=10, seconds=10 * SLOW)
    flood(load, until=10.0)
    assert load.longest_delay(1.0, usual=2.0, flooded=0.001) < MOST_ROWS * load.seconds(1)


def test_a_machine_that_became_slower_is_believed_in_the_end() -> None:
    load = Load()
    load.learn(rows=1, seconds=SLOW)
    for _ in range(100):
        load.learn(rows=1, seconds=3 * SLOW)
        load.learn(rows=8, seconds=8 * SLOW)
    flood(load, until=10.0)
    row = load.seconds(1)
    assert load.longest_delay(1.0, usual=2.0, flooded=0.001) > (3 * SINGLE_RUNS * SLOW / row - 1) * row


@pytest.mark.parametrize("off", [0.85, 0.95, 1.02])
def test_a_small_run_has_as_many_rows_if_their_time_is_a_little_off(off: float) -> None:
    load = Load()
    load.learn(rows=1, seconds=SLOW)
    for _ in range(40):
        load.learn(rows=10, seconds=10 * off * SLOW)
    flood(load, until=10.0)
    row = load.seconds(1)

    def is_let_in(before: int) -> bool:
        delay = before * row
        return delay <= load.longest_delay(delay, usual=0.25, flooded=0.001)

    assert [is_let_in(before) for before in range(6)] == [True] * 4 + [False] * 2


def test_callers_who_were_refused_together_count_as_if_one_by_one() -> None:
    together, one_by_one = Load(), Load()
    for load, callers, calls in ((together, 10, 100), (one_by_one, 1, 1000)):
        load.learn(rows=10, seconds=10 * SLOW)
        for at in range(calls):
            load.count(refused=True, now=2 * at / calls, callers=callers)
    assert together._refused == pytest.approx(one_by_one._refused)
    assert (together.overloaded, one_by_one.overloaded) == (True, True)
