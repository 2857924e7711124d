"""What the service is to reach, as ratios of one run, and whether it did."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tests.benchmarks.serving.bench import BEST_DIGITS, COLOUR, Section

Verdict = Literal[
    "aim met", "met", "missed", "not measured", "not judged: one core", "more than the whole: measure again"
]
WHOLE = 1.05
"""Times what the engine alone does. A server does no more: where it seems to, the engine was held up when it was
measured, which a few per cent of noise do not show."""


class Goal(NamedTuple):
    """`figure` is a name in a section's figures."""

    name: str
    figure: str
    must: float
    aim: float | None = None
    at_most: bool = False
    unit: str = ""
    of_the_engine: bool = False
    two_cores: bool = False
    """judged only where the load has a core of its own"""


GOALS = (
    Goal(
        "MNIST PNG → JSON, 32 clients, share of the FastAPI no-op",
        "share of the no-op",
        0.55,
        0.75,
        two_cores=True,
    ),
    Goal("the same, times the best peer", "times the best peer", 3, 4, unit=" ×", two_cores=True),
    Goal(
        "p50 at 1 client, times the no-op",
        "p50 at 1 client, times the no-op",
        2.0,
        1.5,
        at_most=True,
        unit=" ×",
        two_cores=True,
    ),
    Goal("multipart, share of raw", "multipart, share of raw", 0.65, two_cores=True),
    Goal(
        "batch of 64 PNG, images/s, share of the engine's best",
        "batch, share of the engine",
        0.7,
        0.9,
        of_the_engine=True,
        two_cores=True,
    ),
    Goal(
        "the same of the default model, share of its engine's best",
        f"batch of {BEST_DIGITS}, share of the engine",
        0.7,
        0.9,
        of_the_engine=True,
        two_cores=True,
    ),
    Goal(
        "binary tensors, images/s, share of the engine's best",
        "tensors, share of the engine",
        0.7,
        0.9,
        of_the_engine=True,
        two_cores=True,
    ),
    Goal(
        "cifar10 PNG → JSON, share of the engine's best",
        f"{COLOUR}, share of the engine",
        0.8,
        0.9,
        of_the_engine=True,
        two_cores=True,
    ),
    Goal(
        f"overload of {COLOUR} by 4, default settings: goodput of the peak",
        "overload: goodput",
        0.9,
        two_cores=True,
    ),
    Goal(
        "… p99 of the accepted, share of its bound",
        "overload: p99 of the bound",
        1,
        at_most=True,
        two_cores=True,
    ),
    Goal("start of process → first prediction", "start, s", 1.5, 1.0, at_most=True, unit=" s"),
    Goal("first use of a model, the slowest", "slowest first use, s", 0.3, at_most=True, unit=" s"),
    Goal("memory of one worker, all models servable", "memory, MB", 200, 150, at_most=True, unit=" MB"),
    Goal(
        "… mnist and cifar10 used",
        "memory when the aliases are used, MB",
        200,
        150,
        at_most=True,
        unit=" MB",
    ),
    Goal("… every model used just now", "memory when all are used, MB", 200, 150, at_most=True, unit=" MB"),
    Goal("2 workers on 2 cores, times 1 worker", "2 workers, times 1", 1.7, unit=" ×", two_cores=True),
    Goal("soak: growth after the first minute", "soak: growth, MB", 5, at_most=True, unit=" MB"),
    Goal("soak: answers of status 500", "soak: answered 500", 0, at_most=True),
    Goal("soak: other answers than expected", "soak: other answers than expected", 0, at_most=True),
)


@dataclass(frozen=True)
class Judged:
    """A goal beside what was measured; None is not measured."""

    goal: Goal
    measured: float | None
    verdict: Verdict

    @property
    def is_settled(self) -> bool:
        """Whether it was measured, and where it means something."""
        return self.verdict not in ("not measured", "not judged: one core")

    def as_json(self) -> dict[str, Any]:
        """By names: of a tuple asdict makes a list."""
        return {"goal": self.goal._asdict(), "measured": self.measured, "verdict": self.verdict}


def judged(sections: Iterable[Section], *, one_core: bool = False) -> list[Judged]:
    """Every goal, by the figures of all sections."""
    figures = {name: value for section in sections for name, value in section.figures.items()}
    return [
        Judged(goal, (found := figures.get(goal.figure)), verdict(goal, found, one_core=one_core))
        for goal in GOALS
    ]


def verdict(goal: Goal, measured: float | None, *, one_core: bool = False) -> Verdict:
    if measured is None:
        return "not measured"
    if goal.two_cores and one_core:
        return "not judged: one core"
    if goal.of_the_engine and measured > WHOLE:
        return "more than the whole: measure again"
    if goal.aim is not None and reaches(measured, goal.aim, goal.at_most):
        return "aim met"
    return "met" if reaches(measured, goal.must, goal.at_most) else "missed"


def reaches(measured: float, bound: float, at_most: bool) -> bool:
    return measured <= bound if at_most else measured >= bound
