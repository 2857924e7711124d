"""Four times what the service can serve: how much of its best it still serves, and how long the accepted wait.

The best is what wrk, which waits, gets with fewer or more connections. The overload is open-loop (open_loop.py): it
does not wait, or only when each of its thousands of connections does; what share of it was sent is told beside the
goodput. Its clients ask in turn; what becomes of it where those who were just refused ask again at once, over the same
connections, or where each request comes over a connection of its own, is told as well. cifar10 is the model for which
the engine is the bottleneck; the digits, where HTTP is, show what refusing itself costs.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from service.settings import Settings
from tests.benchmarks.serving.bench import COLOUR, CONNECTIONS, DIGITS, Bench, Section
from tests.benchmarks.serving.child import Child, reported
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import Request, ask
from tests.benchmarks.serving.open_loop import Clients, allow_many_files
from tests.benchmarks.serving.servers import digit, is_cat, is_seven, photo, service
from tests.benchmarks.serving.wrk import Load, load

TIMES = 4
BOUND = 5  # times the unloaded p99
WARM = 1.5
"""Seconds at least before anything is counted: callers are refused for half a second before that is a flood
(service.load), and those who are in the queue by then are answered within another half."""
CLIENTS = {COLOUR: (8, 16), DIGITS: (CONNECTIONS, 4 * CONNECTIONS)}
"""Connections with which a model is at its best. All of a run are answered at once, and a run of 32 photographs takes a
tenth of a second: a load of two seconds would be told apart in steps of a twentieth."""
ANSWERS = {"200", "503", "504"}
"""what an overloaded service may say"""
AS: dict[Clients, str] = {
    "in turn": "",
    "again": ", the refused ask again",
    "anew": ", a connection for each request",
}
"""what sets a load apart from the one that is judged"""
CONNECTIONS_AT_MOST = 4096
ENOUGH = 0.95
"""Of the requests that are due, those sent and those for which no connection was free: with fewer it was the generator
that could not."""


@dataclass(frozen=True)
class Capacity:
    """What a model can do before there is too much."""

    model: str
    request: Request
    rates: dict[int, float]
    """requests a second, by connections"""
    unloaded: float
    """99th percentile at one client, in milliseconds"""

    @property
    def bound(self) -> float:
        """Milliseconds that the accepted may wait at the 99th percentile."""
        return BOUND * self.unloaded + 1000 * Settings().max_batch_wait


@dataclass(frozen=True)
class Overload:
    """What became of it."""

    goodput: float
    """answers a second"""
    p99: float
    """of the accepted, in milliseconds"""
    sent: float
    """share of the requests that were due; for the others every connection was waiting for an answer"""


def measure(bench: Bench, section: Section) -> None:
    """In every round the peak is measured anew, just before the overload that is compared with it: a machine that
    changes changes both. The larger of two rates that happen to differ would be more than either: which number of
    connections is the better is decided by all rounds."""
    for model in bench.plan.overloaded:
        request = photo() if model == COLOUR else digit()
        allow_many_files()  # to the service as well
        rounds: dict[Clients, list[tuple[Capacity, Overload]]] = {
            clients: [] for clients in bench.plan.clients
        }
        with service(bench) as child:
            ask(child.port, request)  # the first answer waits for its engine to be opened
            for at in range(bench.plan.overload_rounds):
                bench.say(f"overload: {model}, round {at + 1} of {bench.plan.overload_rounds}")
                capacity = _capacity(bench, child, model, request)
                for clients, so_far in rounds.items():
                    so_far.extend(_overloaded_by(bench, section, child, capacity, clients))
        peaks = [peak for peak, _ in rounds["in turn"]]
        best = max(CLIENTS[model], key=lambda count: median(peak.rates[count] for peak in peaks))
        section.lines.append(f"{model}: at its best with {best} connections")
        label = "overload" if model == COLOUR else f"overload, {model}"
        for clients, found in rounds.items():
            _tell(section, f"{label}{AS[clients]}", best, found)
        section.figures = {name: section.median(name) for name in section.rounds}


def _overloaded_by(
    bench: Bench, section: Section, child: Child, capacity: Capacity, clients: Clients
) -> list[tuple[Capacity, Overload]]:
    """A round. None where clients who come anew cannot be measured, which nothing is judged by."""
    if clients == "anew" and capacity.model != COLOUR:  # so many connections this generator cannot make
        return []
    try:
        return [(capacity, _overloaded(bench, section, child, capacity, clients))]
    except BenchmarkError as error:
        if clients != "anew":
            raise
        section.lines.append(f"{capacity.model}{AS[clients]}: not measured: {error}")
        return []


def _tell(section: Section, label: str, best: int, rounds: list[tuple[Capacity, Overload]]) -> None:
    if not rounds:
        return
    section.rounds[f"{label}: goodput"] = [found.goodput / peak.rates[best] for peak, found in rounds]
    section.rounds[f"{label}: p99 of the bound"] = [found.p99 / peak.bound for peak, found in rounds]
    section.rounds[f"{label}: share of the requests that was sent"] = [found.sent for _, found in rounds]


def _capacity(bench: Bench, child: Child, model: str, request: Request) -> Capacity:
    unloaded = _load(bench, child, model, request, 1).p99_ms
    rates = {count: _load(bench, child, model, request, count).per_second for count in CLIENTS[model]}
    return Capacity(model, request, rates, unloaded)


def _load(bench: Bench, child: Child, model: str, request: Request, connections: int) -> Load:
    # A queue that is bounded by time may refuse some of many.
    return load(
        child,
        request,
        is_cat if model == COLOUR else is_seven,
        connections=connections,
        seconds=bench.plan.seconds,
        cores=[bench.cores.load],
        may_refuse=connections > 1,
    )


def _overloaded(
    bench: Bench, section: Section, child: Child, capacity: Capacity, clients: Clients = "in turn"
) -> Overload:
    """Raises BenchmarkError when the load was not the one asked for, or something else than answers came of it."""
    found = offered(bench, child.port, capacity.request, TIMES * max(capacity.rates.values()), clients)
    sent, held_back, missed = (found[f"{what}_per_second"] for what in ("sent", "held_back", "missed"))
    asked = sent + held_back + missed
    if sent + held_back < ENOUGH * asked:
        raise BenchmarkError(
            f"overload of {capacity.model}: {missed:,.0f} of {asked:,.0f} requests a second left too late to be sent: "
            "the load generator cannot make this load here"
        )
    answers = _answers(capacity.model, found)
    p99 = found["p99_ms"]["200"]
    rates = ", ".join(f"{rate:,.0f}/s with {count} connections" for count, rate in capacity.rates.items())
    section.lines.append(
        f"{capacity.model}: {rates}; overload{AS[clients]}: {asked:,.0f}/s asked for, "
        f"{sent:,.0f}/s sent (at most {found['most_waiting']:,} at once), {held_back:,.0f}/s found none of "
        f"{CONNECTIONS_AT_MOST:,} connections free, {missed:,.0f}/s missed; answered {answers}; "
        f"p99 of the accepted {p99:.1f} ms, bound {capacity.bound:.1f} ms"
    )
    return Overload(found["answered_per_second"]["200"], p99, sent / asked)


def _answers(model: str, found: dict[str, Any]) -> str:
    """How often which, for a person. Raises BenchmarkError unless every request got one that is right."""
    answered = found["answered_per_second"]
    answers = ", ".join(f"{status}: {rate:,.0f}/s" for status, rate in sorted(answered.items()))
    if found["lost"] or found["unanswered"] or answered.keys() - ANSWERS or "200" not in found["p99_ms"]:
        raise BenchmarkError(
            f"overload of {model}: {found['lost']} connections lost, {found['unanswered']} requests never answered, "
            f"answered {answers or 'nothing'}"
        )
    return answers


def offered(
    bench: Bench, port: int, request: Request, rate: float, clients: Clients = "in turn"
) -> dict[str, Any]:
    """What open_loop.py says of this rate, in requests a second."""
    seconds = bench.plan.overload_seconds
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "request"
        file.write_bytes(request.raw())
        options = (
            "--port",
            port,
            "--request",
            file,
            "--rate",
            rate,
            "--seconds",
            seconds,
            "--warm",
            max(WARM, seconds / 3),
            "--limit",
            CONNECTIONS_AT_MOST,
            "--clients",
            clients,
        )
        found: dict[str, Any] = reported("open_loop", *options, core=bench.cores.load, limit=2 * seconds + 60)
    return found
