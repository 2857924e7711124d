"""Loads that take turns, and what is kept of them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.serving import turns as module
from tests.benchmarks.serving import wrk
from tests.benchmarks.serving.bench import SHORT, Bench, Cores, Section
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import Answer, Request
from tests.benchmarks.serving.servers import are_labelled, are_probabilities, is_answered, is_cat, is_seven
from tests.benchmarks.serving.turns import Case, Turns, row
from tests.benchmarks.serving.wrk import Load

BENCH = Bench(SHORT, Cores(server=3, load=5))
REQUEST = Request("/x", b"x", "text/plain")
SEVEN = Answer(200, b'{"label":"7"}')


def measured(**changes: Any) -> Load:
    return Load(100.0, p50_ms=2.0, p99_ms=9.0, refused=0, processor_us=64.0, answers=400, size=121)._replace(
        **changes
    )


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What was loaded, and how; each load has 100 requests a second, the second one 200 and so on."""
    found: list[tuple[str, dict[str, Any]]] = []

    def load(child: Any, request: Request, right: Callable[[Answer], bool], **options: Any) -> Load:
        assert right is is_seven
        found.append((child.name, options))
        return measured(per_second=100.0 * len(found))

    monkeypatch.setattr(module, "load", load)
    monkeypatch.setattr(wrk, "ask", lambda port, request: SEVEN)
    return found


def case(name: str = "a", right: Callable[[Answer], bool] = is_seven, **options: Any) -> Case:
    return Case(SimpleNamespace(name=name, port=1), REQUEST, right, **options)  # type: ignore[arg-type]


def test_every_round_begins_with_the_one_that_was_last(loads: list[tuple[str, dict[str, Any]]]) -> None:
    turns = Turns(BENCH, Section())
    for name in "abc":
        turns.add(name, case(name), warm=0)
    turns.take("three", 3)
    assert [name for name, _ in loads] == [*"abc", *"cba", *"abc"]


def test_a_load_comes_from_its_own_core_for_the_seconds_of_the_plan(
    loads: list[tuple[str, dict[str, Any]]],
) -> None:
    turns = Turns(BENCH, Section())
    turns.add("a", case(connections=7), warm=2)
    turns.take("one", 1)
    warm, counted = (options for _, options in loads)
    assert warm == {"connections": 7, "seconds": 2, "cores": [BENCH.cores.load], "may_refuse": True}
    assert counted == warm | {"seconds": SHORT.seconds}


def test_figures_are_those_of_images(loads: list[tuple[str, dict[str, Any]]]) -> None:
    section = Section()
    turns = Turns(BENCH, section)
    turns.add("a", case(images=64), warm=1)
    turns.take("one", 1)
    assert section.rounds == {
        "a: images/s": [200.0 * 64],  # what was warmed with does not count
        "a: processor us": [1.0],
        "a: p50 ms": [2.0],
        "a: p99 ms": [9.0],
    }


def test_an_engine_takes_its_turn_without_requests(loads: list[tuple[str, dict[str, Any]]]) -> None:
    section, asked = Section(), list[float]()

    def measure(seconds: float) -> SimpleNamespace:
        asked.append(seconds)
        return SimpleNamespace(per_second=5.0, processor_us=7.0)

    engine = SimpleNamespace(measure=measure)
    turns = Turns(BENCH, section)
    turns.add_engine("alone", engine)  # type: ignore[arg-type]
    turns.take("one", 1)
    assert section.rounds == {"alone: images/s": [5.0], "alone: processor us": [7.0]}
    assert asked == [SHORT.engine_seconds]
    assert not loads


def test_one_client_may_not_be_refused(loads: list[tuple[str, dict[str, Any]]]) -> None:
    turns = Turns(BENCH, Section())
    turns.add("a", case(connections=1), warm=1)
    turns.take("one", 1)
    assert [options["may_refuse"] for _, options in loads] == [False, False]


def test_a_load_that_is_void_says_which_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def void(*_: Any, **__: Any) -> Load:
        raise BenchmarkError("why")

    monkeypatch.setattr(module, "load", void)
    monkeypatch.setattr(wrk, "ask", lambda port, request: SEVEN)
    with pytest.raises(BenchmarkError, match="the case: why"):
        Turns(BENCH, Section()).add("the case", case(), warm=1)


def test_requests_that_were_refused_are_told_and_no_times_beside_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "load", lambda *_, **__: measured(refused=1234))
    monkeypatch.setattr(wrk, "ask", lambda port, request: SEVEN)
    section = Section()
    turns = Turns(BENCH, section)
    turns.add("a", case(), warm=0)
    turns.take("one", 1)
    assert section.lines == ["a: 1,234 requests were refused in a round, whose times are not told"]
    assert section.rounds.keys() == {"a: images/s", "a: processor us"}


def batch(*results: bytes) -> Answer:
    return Answer(200, b'{"results":[' + b",".join(results) + b"]}")


def tensor(shape: bytes, values: int) -> Answer:
    return Answer(200, b'{"outputs":[{"name":"probabilities","shape":[' + shape + b"]}]}" + bytes(4 * values))


RIGHT: list[tuple[Callable[[Answer], bool], Answer]] = [
    (is_answered, Answer(200, b"")),
    (is_seven, SEVEN),
    (is_cat, Answer(200, b'{"label":"cat"}')),
    (are_labelled(2), batch(b'{"label":"7"}', b'{"label":"2"}')),
    (are_probabilities(2), tensor(b"2,10", 20)),
]
WRONG: list[tuple[Callable[[Answer], bool], Answer]] = [
    (is_answered, Answer(503, b"")),
    (is_seven, Answer(200, b'{"label":"1"}')),
    (is_seven, Answer(200, b"<html>")),
    (is_seven, Answer(200, b"[]")),
    (is_seven, Answer(200, b"null")),
    (is_seven, Answer(500, SEVEN.body)),
    (is_cat, Answer(200, b'{"label":"dog"}')),
    (are_labelled(2), batch(b'{"label":"7"}', b'{"problem":{"status":415}}')),
    (are_labelled(2), batch(b'{"problem":{"status":415}}', b'{"problem":{"status":415}}')),
    (are_labelled(2), batch(b'{"label":"7"}')),
    (are_labelled(2), SEVEN),
    (are_probabilities(2), tensor(b"1,10", 20)),
    (are_probabilities(2), tensor(b"2,10", 0)),
    (are_probabilities(2), Answer(200, b'{"error":"none"}')),
]


@pytest.mark.parametrize(("right", "answer"), RIGHT)
def test_what_is_answered_rightly_is_measured(
    monkeypatch: pytest.MonkeyPatch,
    right: Callable[[Answer], bool],
    answer: Answer,
) -> None:
    loads: list[Callable[[Answer], bool]] = []
    monkeypatch.setattr(wrk, "ask", lambda port, request: answer)
    monkeypatch.setattr(module, "load", lambda child, request, right, **_: loads.append(right))
    Turns(BENCH, Section()).add("a", case(right=right), warm=1)
    assert loads == [right]  # it asks again


@pytest.mark.parametrize(("right", "answer"), WRONG)
def test_what_is_answered_wrongly_is_not(
    monkeypatch: pytest.MonkeyPatch,
    loads: list[tuple[str, dict[str, Any]]],
    right: Callable[[Answer], bool],
    answer: Answer,
) -> None:
    monkeypatch.setattr(wrk, "ask", lambda port, request: answer)
    with pytest.raises(BenchmarkError, match="a, /x: a wrong answer"):
        Turns(BENCH, Section()).add("a", case(right=right), warm=1)
    assert not loads


def test_a_row_has_the_medians_and_the_time_of_one_client() -> None:
    section = Section(
        rounds={
            "a: images/s": [1.0, 9.0, 5.0],
            "a: processor us": [3.0, 2.0, 1.0],
            "a: p50 ms": [70.0],
            "a: p99 ms": [90.0],
            "a, 1 client: p50 ms": [0.5],
            "a, 1 client: p99 ms": [0.9],
        }
    )
    child: Any = SimpleNamespace(ready_after=1.5, memory_mb=lambda: 100.0)
    found = row(section, "a", child, one="a, 1 client")
    assert (found.per_second, found.processor_us, found.p50_ms) == (5, 2, 0.5)
    assert (found.ready_after, found.memory_mb) == (1.5, 100)
    assert row(section, "a").p50_ms is row(section, "a").memory_mb is None
