"""What a soak is judged by."""

import pytest

from tests.benchmarks.serving.bench import SHORT, Bench, Cores, Section
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.goals import judged
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


def test_a_soak_of_no_seconds_says_so() -> None:
    assert "not measured" in measure(Bench(SHORT, Cores.allowed())).lines[0]
