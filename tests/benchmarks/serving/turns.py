"""Loads that take turns: every round measures each once, in alternating order."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.benchmarks.serving.bench import CONNECTIONS, Bench, Row, Section
from tests.benchmarks.serving.child import Child
from tests.benchmarks.serving.engine_alone import Engine
from tests.benchmarks.serving.errors import about
from tests.benchmarks.serving.messages import Answer, Request
from tests.benchmarks.serving.wrk import Load, answered_rightly, load

RATE = "images/s"
PROCESSOR = "processor us"  # an image
P50 = "p50 ms"
P99 = "p99 ms"
ONE = ", 1 client"


@dataclass(frozen=True)
class Case:
    """A load that is repeated."""

    child: Child
    request: Request
    right: Callable[[Answer], bool]
    """whether it is answered with what it asks for: the status alone does not say so; asked before and after a load"""
    connections: int = CONNECTIONS
    images: int = 1
    """in a request"""


class Turns:
    """Collects the rounds of its cases in a section: `<case>: <figure>` → one number a round."""

    def __init__(self, bench: Bench, section: Section) -> None:
        self._bench = bench
        self._section = section
        self._steps: list[partial[None]] = []

    def add(self, name: str, case: Case, *, warm: int | None = None) -> None:
        """Asks once, so that a wrong answer is not measured, and loads for `warm` seconds (the plan's)."""
        with about(f"{name}, {case.request.path}"):
            answered_rightly(case.child, case.request, case.right)
        seconds = self._bench.plan.warm if warm is None else warm
        if seconds:
            self._load(name, case, seconds)
        self._steps.append(partial(self._measure, name, case))

    def add_engine(self, name: str, engine: Engine) -> None:
        self._steps.append(partial(self._measure_engine, name, engine))

    def take(self, title: str, rounds: int) -> None:
        for at in range(rounds):
            self._bench.say(f"{title}: round {at + 1} of {rounds}")
            for step in self._steps if at % 2 == 0 else reversed(self._steps):
                step()

    def _measure(self, name: str, case: Case) -> None:
        """A refusal takes less time than an answer: where some are, nobody knows how long the others took."""
        one = self._load(name, case, self._bench.plan.seconds)
        self._note(name, RATE, one.per_second * case.images)
        self._note(name, PROCESSOR, one.processor_us / case.images)
        if one.refused:
            self._section.lines.append(
                f"{name}: {one.refused:,} requests were refused in a round, whose times are not told"
            )
        else:
            self._note(name, P50, one.p50_ms)
            self._note(name, P99, one.p99_ms)

    def _measure_engine(self, name: str, engine: Engine) -> None:
        best = engine.measure(self._bench.plan.engine_seconds)
        self._note(name, RATE, best.per_second)
        self._note(name, PROCESSOR, best.processor_us)

    def _load(self, name: str, case: Case, seconds: int) -> Load:
        with about(name):
            return load(
                case.child,
                case.request,
                case.right,
                connections=case.connections,
                seconds=seconds,
                cores=[self._bench.cores.load],
                may_refuse=case.connections > 1,  # one that waits for its answer is never too many
            )

    def _note(self, name: str, figure: str, value: float) -> None:
        self._section.rounds.setdefault(f"{name}: {figure}", []).append(value)


def row(section: Section, name: str, child: Child | None = None, *, one: str | None = None) -> Row:
    """The medians of a case as a line of the table; `one` is its case at one client."""
    return Row(
        name,
        per_second=section.median(f"{name}: {RATE}"),
        processor_us=section.median(f"{name}: {PROCESSOR}"),
        p50_ms=section.median(f"{one}: {P50}") if one and f"{one}: {P50}" in section.rounds else None,
        ready_after=child.ready_after if child else None,
        memory_mb=child.memory_mb() if child else None,
    )
