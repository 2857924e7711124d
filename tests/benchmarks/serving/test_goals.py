"""Whether a goal is met."""

import pytest

from tests.benchmarks.serving.bench import COLOUR, Section
from tests.benchmarks.serving.goals import GOALS, WHOLE, Goal, Judged, Verdict, judged, verdict

SHARE = Goal("share", "share", must=0.55, aim=0.75)
SECONDS = Goal("seconds", "seconds", must=1.5, aim=1.0, at_most=True)
ENGINE = SHARE._replace(of_the_engine=True)
BOUND = Goal("growth", "growth", must=5, at_most=True)


@pytest.mark.parametrize(
    ("goal", "measured", "expected"),
    [
        (SHARE, 0.75, "aim met"),
        (SHARE, 0.55, "met"),
        (SHARE, 0.5499, "missed"),
        (SECONDS, 1.0, "aim met"),
        (SECONDS, 1.5, "met"),
        (SECONDS, 1.51, "missed"),
        (BOUND, -2.0, "met"),
        (BOUND, 5.1, "missed"),
        (SHARE, None, "not measured"),
        (SHARE, 1.3, "aim met"),
        (ENGINE, 1.04, "aim met"),
        (ENGINE, 1.3, "more than the whole: measure again"),
    ],
)
def test_more_is_better_for_shares_and_less_for_seconds(
    goal: Goal, measured: float | None, expected: Verdict
) -> None:
    assert verdict(goal, measured) == expected


# Of each figure: what it must reach and its aim, whether it is the most that may be, of the engine, and under load.
BOUNDS = {
    "share of the no-op": (0.55, 0.75, False, False, True),
    "times the best peer": (3, 4, False, False, True),
    "p50 at 1 client, times the no-op": (2.0, 1.5, True, False, True),
    "multipart, share of raw": (0.65, None, False, False, True),
    "batch, share of the engine": (0.7, 0.9, False, True, True),
    "batch of mnist, share of the engine": (0.7, 0.9, False, True, True),
    "tensors, share of the engine": (0.7, 0.9, False, True, True),
    "cifar10, share of the engine": (0.8, 0.9, False, True, True),
    "overload: goodput": (0.9, None, False, False, True),
    "overload: p99 of the bound": (1, None, True, False, True),
    "start, s": (1.5, 1.0, True, False, False),
    "slowest first use, s": (0.3, None, True, False, False),
    "memory, MB": (200, 150, True, False, False),
    "memory when the aliases are used, MB": (200, 150, True, False, False),
    "memory when all are used, MB": (200, 150, True, False, False),
    "2 workers, times 1": (1.7, None, False, False, True),
    "soak: growth, MB": (5, None, True, False, False),
    "soak: answered 500": (0, None, True, False, False),
    "soak: other answers than expected": (0, None, True, False, False),
}


def test_the_bounds_are_these() -> None:
    found = {
        goal.figure: (goal.must, goal.aim, goal.at_most, goal.of_the_engine, goal.two_cores) for goal in GOALS
    }
    assert found == BOUNDS
    assert WHOLE == 1.05


def test_on_one_core_nothing_that_a_load_takes_part_in_is_judged() -> None:
    figures = Section(figures={"share of the no-op": 0.9, "start, s": 0.9})
    found = {one.goal.figure: one for one in judged([figures], one_core=True)}
    verdicts = {figure: (one.verdict, one.is_settled) for figure, one in found.items()}
    assert verdicts["share of the no-op"] == ("not judged: one core", False)
    assert verdicts["multipart, share of raw"] == ("not measured", False)
    assert verdicts["start, s"] == ("aim met", True)


def test_a_goal_is_written_by_names() -> None:
    written = Judged(SHARE, 0.6, "met").as_json()
    assert (written["measured"], written["verdict"]) == (0.6, "met")
    assert written["goal"]["must"] == 0.55


def test_goals_are_judged_by_the_figures_of_any_section() -> None:
    found = judged([Section(figures={"start, s": 0.9}), Section(figures={"memory, MB": 180})])
    verdicts = {one.goal.figure: one.verdict for one in found if one.measured is not None}
    assert verdicts == {"start, s": "aim met", "memory, MB": "met"}
    assert len(found) == len(GOALS)


def test_a_goal_that_is_judged_by_one_model_says_which() -> None:
    goal = next(goal for goal in GOALS if goal.figure == "overload: goodput")
    assert COLOUR in goal.name


def test_no_two_goals_are_judged_by_the_same_figure() -> None:
    assert len({goal.figure for goal in GOALS}) == len(GOALS)
