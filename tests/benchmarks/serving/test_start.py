"""What a start is judged by."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.serving import start
from tests.benchmarks.serving.bench import SHORT, Bench, Cores, Section
from tests.benchmarks.serving.errors import BenchmarkError

BENCH = Bench(replace(SHORT, starts=3), Cores.allowed())


def test_every_figure_is_a_median_of_all_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the memory when every model was used; the slowest first use is the slowest of one start."""
    seconds, asked = iter([0.5, 0.9, 0.6]), list[str]()

    @contextmanager
    def service(_: Bench) -> Iterator[SimpleNamespace]:
        ready_after = next(seconds)
        memory = iter([100 * ready_after, 200 * ready_after, 300 * ready_after])
        yield SimpleNamespace(port=1, ready_after=ready_after, memory_mb=lambda: next(memory))

    def predict(child: Any, name: str, dataset: str) -> float:
        asked.append(name)
        return child.ready_after * {"mnist": 1, "cifar10": 4, "mnist-l2": 2}[name]  # type: ignore[no-any-return]

    monkeypatch.setattr(start, "service", service)
    monkeypatch.setattr(start, "served", lambda _: ({"mnist-l2": "mnist"}, []))
    monkeypatch.setattr(start, "_predict", predict)
    monkeypatch.setattr(start, "get", lambda *_: None)
    section = Section()
    start.measure(BENCH, section)
    assert section.figures == pytest.approx(
        {
            "start, s": 0.6,
            "memory, MB": 60,
            "memory when the aliases are used, MB": 120,
            "memory when all are used, MB": 180,
            "slowest first use, s": 2.4,
        }
    )
    assert asked[:2] == ["mnist", "cifar10"]  # before the names under which they would be open already
    for name in ("mnist", "cifar10", "mnist-l2"):  # first, and before memory is read
        assert asked.count(name) == 3 * (1 + 20)
    assert "the slowest first use: cifar10" in section.lines[0]


def test_models_that_are_refused_are_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def service(_: Bench) -> Iterator[None]:
        yield

    monkeypatch.setattr(start, "service", service)
    monkeypatch.setattr(start, "served", lambda _: ({}, ["mnist-broken"]))
    with pytest.raises(BenchmarkError, match="the service refuses mnist-broken"):
        start.measure(BENCH, Section())


@pytest.mark.parametrize("status", [503, 307, 204])
def test_a_first_use_that_fails_is_not_timed(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    child: Any = SimpleNamespace(port=1)
    answer = SimpleNamespace(status=200, body=b"")
    monkeypatch.setattr(start, "ask", lambda *_: answer)
    assert 0 < start._predict(child, "mnist", "mnist") < 1
    answer.status = status
    with pytest.raises(BenchmarkError, match=f"mnist answers {status}"):
        start._predict(child, "mnist", "mnist")
