"""Four times what the service can serve: how much of its best it still serves, and how long the accepted wait.

The best is what wrk, which waits, gets with fewer or more connections. The overload is open-loop (open_loop.py): it
does not wait. cifar10 is the model for which the engine is the bottleneck; the digits, where HTTP is, show what
refusing itself costs.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.settings import Settings
from tests.benchmarks.serving.bench import COLOUR, CONNECTIONS, DIGITS, Bench, Section
from tests.benchmarks.serving.child import Child, reported
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import Request
from tests.benchmarks.serving.servers import digit, photo, service
from tests.benchmarks.serving.wrk import Load, load

TIMES = 4
BOUND = 5  # times the unloaded p99
WARM = 1.0  # seconds at least: a flood is one when it has lasted for half of that (service.load)
CLIENTS = {COLOUR: (8, 16), DIGITS: (CONNECTIONS, 4 * CONNECTIONS)}
"""Connections with which a model is at its best. All of a run are answered at once, and a run of 32 photographs takes a
tenth of a second: a load of two seconds would be told apart in steps of a twentieth."""
ANSWERS = {"200", "503", "504"}
"""what an overloaded service may say"""


@dataclass(frozen=True)
class Capacity:
    """What a model can do before there is too much."""

    model: str
    request: Request
    peak: float
    """requests a second"""
    unloaded: float
    """99th percentile at one client, in milliseconds"""

    @property
    def bound(self) -> float:
        """Milliseconds that the accepted may wait at the 99th percentile."""
        return BOUND * self.unloaded + 1000 * Settings().max_batch_wait


def measure(bench: Bench) -> Section:
    """Default settings, and a queue as short as the bound on waiting asks for. In every round the peak is measured
    anew, just before the overloads that are compared with it: a machine that changes changes all of them."""
    section = Section()
    for model in bench.plan.overloaded:
        request = photo() if model == COLOUR else digit()
        with service(bench) as default:
            # A caller waits for those before, and then for a run with as many: together no more than four unloaded
            # p99, which leaves one for the rest.
            delay = f"{2 * _load(bench, default, request, 1).p99_ms / 1000:.4f}"
            section.lines.append(f"{model}: the short queue is CONVSCOPE_MAX_QUEUE_DELAY={delay}")
            with service(bench, CONVSCOPE_MAX_QUEUE_DELAY=delay) as short:
                for at in range(bench.plan.overload_rounds):
                    bench.say(f"overload: {model}, round {at + 1} of {bench.plan.overload_rounds}")
                    capacity = _capacity(bench, default, model, request)
                    section.lines.append(
                        f"{model}: peak {capacity.peak:,.0f}/s, unloaded p99 {capacity.unloaded:.2f} ms"
                    )
                    _overloaded(bench, section, default, capacity, "default queue")
                    _overloaded(bench, section, short, capacity, "short queue")
    section.figures = {name: section.median(name) for name in section.rounds}
    return section


def _capacity(bench: Bench, child: Child, model: str, request: Request) -> Capacity:
    unloaded = _load(bench, child, request, 1).p99_ms
    peak = max(_load(bench, child, request, count).per_second for count in CLIENTS[model])
    return Capacity(model, request, peak, unloaded)


def _load(bench: Bench, child: Child, request: Request, connections: int) -> Load:
    # A queue that is bounded by time may refuse some of many.
    return load(
        child,
        request,
        connections=connections,
        seconds=bench.plan.seconds,
        cores=[bench.cores.load],
        may_refuse=connections > 1,
    )


def _overloaded(bench: Bench, section: Section, child: Child, capacity: Capacity, queue: str) -> None:
    found = offered(bench, child.port, capacity.request, TIMES * capacity.peak)
    rates = found["answered_per_second"]
    p99 = found["p99_ms"].get("200")
    answers = ", ".join(f"{status}: {rate:,.0f}/s" for status, rate in rates.items())
    if found["lost"] or rates.keys() - ANSWERS or p99 is None:
        raise BenchmarkError(
            f"overload of {capacity.model}: {found['lost']} connections lost, answered {answers or 'nothing'}"
        )
    label = "overload" if capacity.model == COLOUR else f"overload, {capacity.model}"
    for name, value in (
        ("goodput", rates["200"] / capacity.peak),
        ("p99 of the bound", p99 / capacity.bound),
    ):
        section.rounds.setdefault(f"{label}, {queue}: {name}", []).append(value)
    section.lines.append(
        f"{capacity.model}, {queue}: {found['sent_per_second']:,.0f}/s sent over {found['connections']} connections, "
        f"{found['unsent_per_second']:,.0f}/s found none free; answered {answers}; "
        f"p99 of the accepted {p99:.1f} ms, bound {capacity.bound:.1f} ms"
    )


def offered(bench: Bench, port: int, request: Request, rate: float) -> dict[str, Any]:
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
        )
        found: dict[str, Any] = reported("open_loop", *options, core=bench.cores.load, limit=2 * seconds + 60)
    return found
