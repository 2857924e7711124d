"""From the start of the process to the first prediction, and what one worker takes when it has used every model."""

import statistics
import time

from tests.benchmarks.serving.bench import Bench, Section
from tests.benchmarks.serving.child import Child
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import ask, get
from tests.benchmarks.serving.models import served
from tests.benchmarks.serving.servers import digit, photo, service

PREDICTIONS = 20  # of each model, before memory is read


def measure(bench: Bench) -> Section:
    """Medians of several starts; the files are in the page cache, as after a first start."""
    section = Section()
    for at in range(bench.plan.starts):
        bench.say(f"start {at + 1} of {bench.plan.starts}")
        with service(bench) as child:
            uses = _first_uses(child)
            section.rounds.setdefault("start, s", []).append(child.ready_after)
            section.rounds.setdefault("slowest first use, s", []).append(max(uses.values()))
            if at == bench.plan.starts - 1:
                section.rounds["memory, MB"] = [_memory_when_used(child, list(uses))]
    section.figures = {name: statistics.median(values) for name, values in section.rounds.items()}
    section.lines.append(
        f"every one of {len(uses)} models answered; the slowest first use: {max(uses, key=uses.__getitem__)}"
    )
    return section


def _first_uses(child: Child) -> dict[str, float]:
    """Seconds of the first prediction of each model, in the order of GET /models. Raises when one is refused."""
    models, refused = served(child)
    if refused:
        raise BenchmarkError(f"the service refuses {', '.join(refused)}")
    return {name: _predict(child, name, dataset) for name, dataset in models.items()}


def _predict(child: Child, name: str, dataset: str) -> float:
    make = digit if dataset == "mnist" else photo
    began = time.perf_counter()
    answer = ask(child.port, make(f"/predict/{name}"))
    if answer.status != 200:
        raise BenchmarkError(f"{name} answers {answer.status}: {answer.body[:200]!r}")
    return time.perf_counter() - began


def _memory_when_used(child: Child, names: list[str]) -> float:
    models, _ = served(child)
    for _ in range(PREDICTIONS):
        for name in names:
            _predict(child, name, models[name])
    get(child.port, "/metrics")
    return child.memory_mb()
