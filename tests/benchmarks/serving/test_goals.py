"""Whether a goal is met."""

import pytest

from tests.benchmarks.serving.bench import COLOUR, Section
from tests.benchmarks.serving.goals import GOALS, Goal, Verdict, judged, verdict

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
