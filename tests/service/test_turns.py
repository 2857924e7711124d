from collections.abc import Sequence
from itertools import permutations
from math import inf

import numpy as np
import pytest

from service.callers import always
from service.lanes import Begun, Entry
from service.turns import most_in_time, rows_until


@pytest.mark.parametrize("many", [0, 1, 2, 7, 30])
def test_the_turns_of_others_end_where_they_have_no_more(many: int) -> None:
    generator = np.random.default_rng(many)
    left = generator.integers(0, 20, many).tolist()
    until = rows_until(left)
    for most in range(22):
        assert until(most) == sum(min(most, one) for one in left)


def in_time(parts: Sequence[Entry]) -> int:
    """How many are, one after another, where a row takes a second."""
    ends = np.cumsum([part.left for part in parts])
    return sum(end <= part.deadline for end, part in zip(ends, parts, strict=True))


@pytest.mark.parametrize("seed", range(40))
async def test_in_no_other_order_are_more_in_time(seed: int) -> None:
    generator = np.random.default_rng(seed)
    parts = []
    for _ in range(generator.integers(1, 7)):
        begun = Begun(int(generator.integers(2, 12)), float(generator.integers(1, 40)))
        parts.append(Entry(np.zeros((2, 1)), 0.0, begun.deadline, always, begun))
    ordered = most_in_time(parts, float, 0.0)
    assert sorted(map(id, ordered)) == sorted(map(id, parts))
    assert in_time(ordered) == max(in_time(order) for order in permutations(parts))


async def test_only_rows_with_the_same_deadline_count_as_one() -> None:
    """Each part of a stream has a deadline of its own."""
    part = np.zeros((2, 1))
    assert Entry(part, 0.0, 5.0, always, Begun(9, 5.0)).left == 9
    assert Entry(part, 0.0, 5.0, always, Begun(9, inf)).left == 2
    assert Entry(part, 0.0, inf, always).left == 2
