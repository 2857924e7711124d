"""What every section is given, and what it gives back."""

import os
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from service.settings import ROOT
from tests.benchmarks.serving.open_loop import Clients

FOLDER = ROOT / "build" / "benchmark"
CONNECTIONS = 32
DIGITS = "mnist-baseline"
"""the net that every server runs"""
BEST_DIGITS = "mnist"
"""an alias: the digits' net that is served unless told otherwise"""
COLOUR = "cifar10"
"""an alias: the best of its data set, where the engine is most of the work"""


@dataclass(frozen=True)
class Plan:
    """How long everything takes. wrk counts in whole seconds."""

    rounds: int
    seconds: int
    """of one load"""
    warm: int
    """seconds of load before the first round, where a request alone does not warm enough"""
    alone: bool
    """also the bare app at one client, which no goal asks for"""
    engine_seconds: float
    starts: int
    overload_rounds: int
    overload_seconds: float
    overloaded: tuple[str, ...]
    """models"""
    clients: tuple[Clients, ...]
    """who overload them; those that ask in turn are judged"""
    stage_seconds: float
    hot_path_rounds: int
    soak_seconds: float


FULL = Plan(
    rounds=5,
    seconds=4,
    warm=2,
    alone=True,
    engine_seconds=2.0,
    starts=5,
    overload_rounds=5,
    overload_seconds=6.0,
    overloaded=(COLOUR, DIGITS),
    clients=get_args(Clients),
    stage_seconds=0.5,
    hot_path_rounds=3,
    soak_seconds=300.0,
)
SHORT = Plan(
    rounds=2,
    seconds=1,
    warm=0,
    alone=False,
    engine_seconds=0.5,
    starts=1,
    overload_rounds=1,
    overload_seconds=1.0,
    overloaded=(COLOUR,),
    clients=("in turn",),
    stage_seconds=0.15,
    hot_path_rounds=1,
    soak_seconds=0.0,
)


@dataclass(frozen=True)
class Cores:
    """The server has one to itself, whatever loads it the other."""

    server: int
    load: int

    @classmethod
    def allowed(cls) -> "Cores":
        """The first and the last that this process may use; one and the same on a machine with one."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[-1])

    @property
    def shared(self) -> bool:
        """By server and load, because there is one only: what is measured under load is then no server's own."""
        return self.server == self.load


@dataclass(frozen=True)
class Bench:
    plan: Plan
    cores: Cores
    peers: tuple[str, ...] = ()
    """names; none are all of them"""
    began: float = field(default_factory=time.monotonic)

    def say(self, line: str) -> None:
        """Progress, for whoever waits: where nobody does any more, a closed terminal ends no measuring."""
        with suppress(OSError):
            print(f"{time.monotonic() - self.began:6.0f} s  {line}", file=sys.stderr, flush=True)


@dataclass
class Row:
    """A server in the table. None is what was not measured."""

    name: str
    per_second: float | None = None
    processor_us: float | None = None
    p50_ms: float | None = None
    ready_after: float | None = None
    memory_mb: float | None = None


@dataclass
class Section:
    """What one part of the benchmark found."""

    rows: list[Row] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    """what the goals are judged by, and more"""
    lines: list[str] = field(default_factory=list)
    """for a person: what was done, what was skipped and why"""
    rounds: dict[str, list[float]] = field(default_factory=dict)
    """what the figures are medians of"""
    skipped: dict[str, str] = field(default_factory=dict)
    """what could not be measured here, and why: no fault of the run, but it is no whole one"""
    facts: dict[str, Any] = field(default_factory=dict)
    """what else the file tells"""

    def median(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def ratio(self, above: str, below: str) -> float:
        """The median of the ratios of each round's two: a machine that changes between rounds changes both."""
        both = zip(self.rounds[above], self.rounds[below], strict=True)
        return statistics.median(one / other for one, other in both)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
