"""What a soak is judged by."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.serving import mixed_load, soak
from tests.benchmarks.serving.bench import SHORT, Bench, Cores, Section
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.goals import judged
from tests.benchmarks.serving.messages import Request
from tests.benchmarks.serving.mixed_load import MIXED
from tests.benchmarks.serving.soak import LONG_ENOUGH, _answers, _memory, measure

RIGHT = {kind: {str(one.status): 10} for kind, one in MIXED.items()}
READINGS = [(float(second), 100.0) for second in range(200)]


def verdicts(section: Section) -> dict[str, str]:
    return {one.goal.figure: one.verdict for one in judged([section]) if one.measured is not None}


def test_a_soak_whose_every_answer_is_right_is_met() -> None:
    section = Section()
    _answers(section, RIGHT)
    assert verdicts(section) == {
        "soak: answered 500": "met",
        "soak: other answers than expected": "met",
    }


def test_a_service_that_refuses_everything_misses_it() -> None:
    section = Section()
    _answers(section, {kind: {"503": 10} for kind in MIXED})
    assert verdicts(section)["soak: other answers than expected"] == "missed"


def test_answers_of_500_are_counted_apart_from_others_that_are_wrong() -> None:
    section = Section()
    kinds = list(MIXED)
    changes = {kinds[0]: {"200": 7, "500": 3, "422": 1}, kinds[1]: {"500": 2}}
    _answers(section, RIGHT | changes)
    assert section.figures == {
        "soak: requests": 10 * (len(MIXED) - 2) + 13,
        "soak: answered 500": 5,
        "soak: other answers than expected": 6,
    }
    assert f"{kinds[0]}: 7 × 200, 1 × 422, 3 × 500: 4 are not 200" in section.lines


@pytest.mark.parametrize("status", [0, 1])
def test_a_load_that_fails_is_no_soak(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """It has told nothing of what it was answered; how much memory was taken meanwhile is kept."""

    @contextmanager
    def service(*_: Any, **__: Any) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(port=1, memory_mb=lambda: 100.0, last_words=lambda: "it said nothing")

    class Loading:
        def __init__(self, command: list[str], **_: Any) -> None:
            Path(command[-1]).write_text(json.dumps(RIGHT))
            self.returncode = status
            self._polls = iter([None, status])

        def __enter__(self) -> "Loading":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def poll(self) -> int | None:
            return next(self._polls)

        def terminate(self) -> None:
            pass

    monkeypatch.setattr(soak, "service", service)
    monkeypatch.setattr(subprocess, "Popen", Loading)
    monkeypatch.setattr(soak, "EVERY", 0.0)
    section = Section()
    bench = Bench(replace(SHORT, soak_seconds=1.0), Cores.allowed())
    with pytest.raises(BenchmarkError, match="the mixed load failed") if status else nullcontext():
        measure(bench, section)
    assert ("soak: requests" in section.figures) == (status == 0)
    assert section.rounds == {"soak: MB": [100.0]}


async def test_the_mixed_load_is_mixed_as_its_weights_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that ticks once for each of three thousand requests."""
    monkeypatch.setattr(mixed_load, "time", SimpleNamespace(monotonic=iter(range(3001)).__next__))
    monkeypatch.setattr(mixed_load, "request_of", lambda kind: Request(kind, b"", "text/plain"))
    asked: Counter[str] = Counter()

    async def post(path: str, **_: Any) -> SimpleNamespace:
        asked[path] += 1
        return SimpleNamespace(status_code=200)

    counts: dict[str, Counter[str]] = {kind: Counter() for kind in MIXED}
    client: Any = SimpleNamespace(post=post)
    await mixed_load._caller(client, 3000, 0, counts)
    assert {kind: one["200"] for kind, one in counts.items()} == asked
    whole = sum(kind.weight for kind in MIXED.values())
    for kind, of in MIXED.items():
        assert asked[kind] / 3000 == pytest.approx(of.weight / whole, abs=0.02)


def test_a_load_without_an_answer_is_no_soak() -> None:
    with pytest.raises(BenchmarkError, match="no answer at all"):
        _answers(Section(), {kind: {} for kind in MIXED})


@pytest.mark.parametrize(
    ("seconds", "expected"), [(LONG_ENOUGH, {"soak: growth, MB": "met"}), (LONG_ENOUGH - 1, {})]
)
def test_growth_after_the_first_minute_takes_two(seconds: float, expected: dict[str, str]) -> None:
    section = Section()
    _memory(section, READINGS, seconds)
    assert verdicts(section) == expected
    assert any("takes a soak of 120 s" in line for line in section.lines) == (not expected)


def test_growth_is_from_ten_seconds_to_ten_seconds() -> None:
    """Of memory that grows by a megabyte a second, from the 60th to the 70th and from the 189th to the 199th."""
    section = Section()
    _memory(section, [(float(second), float(second)) for second in range(200)], 200)
    assert section.figures == {"soak: growth, MB": 194 - 65}


def test_a_soak_of_no_seconds_says_so() -> None:
    section = Section()
    measure(Bench(SHORT, Cores.allowed()), section)
    assert "not measured" in section.lines[0]
