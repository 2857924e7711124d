"""Whose turn it is of many requests for many rows each: arithmetic alone."""

from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import accumulate

from service.lanes import Entry


def rows_until(left: Sequence[int]) -> Callable[[int], int]:
    """n → sum(min(n, each) for each in left): rows that are run in all until a request has had n of its own, when
    those who have so many left take turns."""
    ordered = sorted(left)  # there may be a thousand, and each of them is asked for
    before = [0, *accumulate(ordered)]

    def rows(most: int) -> int:
        less = bisect(ordered, most)
        return before[less] + (len(ordered) - less) * most

    return rows


def most_in_time(parts: Iterable[Entry], takes: Callable[[int], float], now: float) -> list[Entry]:
    """The order in which the most requests are in time, when so many rows take `takes(rows)` seconds: by their
    deadlines, and behind them those that are given up, the longest first, since they would make others late.

    J. M. Moore, "An n job, one machine sequencing algorithm for minimizing the number of late jobs", Management Science
    15 (1968), as Hodgson simplified it.
    """
    by_deadline = sorted(parts, key=lambda part: part.deadline)
    longest: list[tuple[int, int]] = []
    rows = 0
    given_up: set[int] = set()
    for place, part in enumerate(by_deadline):
        heappush(longest, (-part.left, -place))
        rows += part.left
        if now + takes(rows) > part.deadline:
            less, its_place = heappop(longest)
            rows += less
            given_up.add(-its_place)
    kept = [part for place, part in enumerate(by_deadline) if place not in given_up]
    return kept + [by_deadline[place] for place in sorted(given_up)]
