"""Which loads count as an overload."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from service.settings import Settings
from tests.benchmarks.serving import overload
from tests.benchmarks.serving.bench import COLOUR, DIGITS, SHORT, Bench, Cores, Section
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import Request
from tests.benchmarks.serving.open_loop import LATE
from tests.benchmarks.serving.servers import is_cat
from tests.benchmarks.serving.wrk import Load

CAPACITY = overload.Capacity("cifar10", Request("/x", b"x", "image/png"), {8: 90.0, 16: 100.0}, unloaded=6.0)
FOUND = {
    "sent_per_second": 300.0,
    "held_back_per_second": 90.0,
    "missed_per_second": 10.0,
    "answered_per_second": {"200": 95.0, "503": 205.0},
    "p99_ms": {"200": 25.0, "503": 1.0},
    "lost": 0,
    "most_waiting": 80,
    "unanswered": 0,
}


def overloaded(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[overload.Overload, Section]:
    monkeypatch.setattr(overload, "reported", lambda *_, **__: FOUND | changes)
    section, child = Section(), SimpleNamespace(port=1)
    bench = Bench(SHORT, Cores.allowed())
    return overload._overloaded(bench, section, child, CAPACITY), section  # type: ignore[arg-type]


def test_an_overload_says_what_it_sent_and_what_it_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found, section = overloaded(monkeypatch)
    assert found == overload.Overload(goodput=95, p99=25, sent=0.75)
    assert "400/s asked for, 300/s sent" in section.lines[0]
    assert "90/s found none of 4,096 connections free, 10/s missed" in section.lines[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unanswered": 3}, "3 requests never answered"),
        ({"lost": 2}, "2 connections lost"),
        ({"answered_per_second": {"200": 95.0, "500": 1.0}}, "500: 1/s"),
        ({"answered_per_second": {"503": 300.0}, "p99_ms": {"503": 1.0}}, "answered 503: 300/s"),
        (
            {"held_back_per_second": 0.0, "missed_per_second": 100.0},
            "100 of 400 requests a second left too late",
        ),
    ],
)
def test_what_is_no_overload_or_not_answered_is_no_measurement(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(BenchmarkError, match=said):
        overloaded(monkeypatch, **changes)


def test_a_load_that_is_not_judged_and_cannot_be_measured_spoils_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overload, "reported", lambda *_, **__: FOUND | {"lost": 2})
    section, bench = Section(), Bench(SHORT, Cores.allowed())
    child: Any = SimpleNamespace(port=1)
    assert overload._overloaded_by(bench, section, child, CAPACITY, "anew") == []
    assert "a connection for each request: not measured: " in section.lines[0]
    with pytest.raises(BenchmarkError):
        overload._overloaded_by(bench, section, child, CAPACITY, "in turn")
    overload._tell(section, "overload, a connection for each request", 8, [])
    assert section.rounds == {}


def test_four_times_the_most_that_is_served_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []

    def offered(bench: Bench, port: int, request: Request, rate: float, clients: str) -> dict[str, Any]:
        rates.append(rate)
        return FOUND

    monkeypatch.setattr(overload, "offered", offered)
    bench, child = Bench(SHORT, Cores.allowed()), SimpleNamespace(port=1)
    overload._overloaded(bench, Section(), child, CAPACITY)  # type: ignore[arg-type]
    assert rates == [4 * 100]


def test_the_accepted_may_wait_five_times_as_long_as_without_a_load() -> None:
    assert CAPACITY.bound == 5 * CAPACITY.unloaded + 1000 * Settings().max_batch_wait


def test_a_twentieth_of_the_load_may_be_missing_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = overloaded(monkeypatch, held_back_per_second=80.0, missed_per_second=20.0)
    assert found.sent == 0.75
    with pytest.raises(BenchmarkError, match="21 of 400 requests a second left too late"):
        overloaded(monkeypatch, held_back_per_second=79.0, missed_per_second=21.0)


@pytest.mark.parametrize(
    ("status", "may"), [(503, True), (504, True), (500, False), (429, False), (307, False)]
)
def test_what_an_overloaded_service_may_say(monkeypatch: pytest.MonkeyPatch, status: int, may: bool) -> None:
    with nullcontext() if may else pytest.raises(BenchmarkError, match=f"{status}: 1/s"):
        overloaded(monkeypatch, answered_per_second={"200": 95.0, str(status): 1.0})


def test_the_best_is_looked_for_with_more_clients_and_the_bound_with_one_that_is_never_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds: list[dict[str, Any]] = []

    def load(child: Any, request: Request, right: Any, **options: Any) -> Load:
        assert right is is_cat
        kinds.append(options)
        count = options["connections"]
        return Load(10.0 * count, 1.0, p99_ms=6.0 * count, refused=0, processor_us=1.0, answers=9, size=121)

    monkeypatch.setattr(overload, "load", load)
    bench, child = Bench(SHORT, Cores(server=3, load=5)), SimpleNamespace()
    found = overload._capacity(bench, child, COLOUR, CAPACITY.request)  # type: ignore[arg-type]
    assert (found.unloaded, found.rates) == (6.0, {8: 80.0, 16: 160.0})
    assert [(one["connections"], one["may_refuse"]) for one in kinds] == [(1, False), (8, True), (16, True)]
    assert all((one["cores"], one["seconds"]) == ([5], SHORT.seconds) for one in kinds)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Rates of the next rounds with fewer and with more connections; nothing is loaded, and only cifar10 is served."""
    rates: list[tuple[float, float]] = []

    def capacity(bench: Bench, child: Any, model: str, request: Request) -> overload.Capacity:
        peaks = dict(zip(overload.CLIENTS[model], rates.pop(0), strict=True))
        return overload.Capacity(model, request, peaks, CAPACITY.unloaded)

    services = iter([SimpleNamespace(port=1)])

    @contextmanager
    def service(_: Bench) -> Iterator[SimpleNamespace]:
        child = next(services, None)
        if child is None:
            raise KeyboardInterrupt
        yield child

    monkeypatch.setattr(overload, "service", service)
    monkeypatch.setattr(overload, "ask", lambda *_: None)
    monkeypatch.setattr(overload, "allow_many_files", lambda: None)
    monkeypatch.setattr(overload, "_capacity", capacity)
    monkeypatch.setattr(overload, "reported", lambda *_, **__: FOUND)
    return rates


def test_how_many_connections_are_the_best_is_decided_by_all_rounds(
    rounds: list[tuple[float, float]],
) -> None:
    """By their medians: with more of them the rate was the highest once, and mostly the lower one."""
    rounds += [(100.0, 90.0), (100.0, 300.0), (100.0, 80.0)]
    section = Section()
    overload.measure(Bench(replace(SHORT, overload_rounds=3), Cores.allowed()), section)
    assert f"cifar10: at its best with {overload.CLIENTS['cifar10'][0]} connections" in section.lines
    assert section.figures["overload: goodput"] == 0.95
    assert section.figures["overload: p99 of the bound"] == pytest.approx(25 / CAPACITY.bound)


def test_a_model_that_was_finished_is_judged_where_the_next_one_is_not(
    rounds: list[tuple[float, float]],
) -> None:
    rounds.append((100.0, 90.0))
    section = Section()
    with pytest.raises(KeyboardInterrupt):
        overload.measure(Bench(replace(SHORT, overloaded=(COLOUR, DIGITS)), Cores.allowed()), section)
    assert section.figures["overload: goodput"] == 0.95


def test_answers_may_take_longer_than_the_service_lets_them() -> None:
    assert Settings().deadline < LATE
