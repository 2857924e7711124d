"""Two workers held against one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.serving import workers
from tests.benchmarks.serving.bench import COLOUR, DIGITS, SHORT, Bench, Cores, Section
from tests.benchmarks.serving.messages import Answer, Request
from tests.benchmarks.serving.servers import is_cat, is_seven
from tests.benchmarks.serving.workers import CONNECTIONS
from tests.benchmarks.serving.wrk import Load

Right = Callable[[Answer], bool]


@contextmanager
def service(*_: Any, CONVSCOPE_WORKERS: str = "1", **__: Any) -> Iterator[SimpleNamespace]:  # noqa: N803
    count = int(CONVSCOPE_WORKERS)
    yield SimpleNamespace(count=count, processes=lambda: dict.fromkeys(range(count)))


def test_two_workers_at_their_best_are_held_against_one_at_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is best with the fewest connections, two with the most."""
    kinds: list[dict[str, Any]] = []

    def load(child: Any, request: Request, right: Right, *, connections: int, **options: Any) -> Load:
        assert right is (is_cat if "cifar10" in request.path else is_seven)
        kinds.append(options)
        rate = 100.0 + connections if child.count == 2 else 200.0 - connections / 2
        return Load(rate, p50_ms=1.0, p99_ms=1.0, refused=0, processor_us=1.0, answers=400, size=121)

    monkeypatch.setattr(workers, "service", service)
    monkeypatch.setattr(workers, "load", load)
    section = Section()
    workers.measure(Bench(SHORT, Cores(server=3, load=5)), section)
    assert section.figures == pytest.approx(
        {
            f"2 workers, times 1, {DIGITS}": 356 / 168,
            f"2 workers, times 1, {COLOUR}": 132 / 192,
            "2 workers, times 1": 356 / 168,
        }
    )
    assert section.lines[:2] == ["1 worker: 1 processes", "2 workers: 2 processes"]
    of_all = {"cores": [3, 5], "nice": 19, "may_refuse": True}
    warm = len(CONNECTIONS) * 2
    assert kinds[:warm] == [of_all | {"seconds": 2}] * warm
    assert kinds[warm:] == [of_all | {"seconds": SHORT.seconds}] * (len(kinds) - warm)
    assert all(len(rates) == SHORT.rounds for rates in section.rounds.values())


def test_two_workers_take_two_cores() -> None:
    section = Section()
    workers.measure(Bench(SHORT, Cores(3, 3)), section)
    assert section.figures == {}
    assert "one core only" in section.lines[0]
