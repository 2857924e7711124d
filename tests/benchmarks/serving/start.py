"""From the start of the process to the first prediction, and what one worker takes: ready, when the models with an
alias were used, and when every model was used just now."""

import statistics
import time

from tests.benchmarks.serving.bench import Bench, Section
from tests.benchmarks.serving.child import Child
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import ask, get
from tests.benchmarks.serving.models import served
from tests.benchmarks.serving.servers import digit, photo, service

PREDICTIONS = 20  # of each model, before memory is read
ALIASES = {name: name for name in ("mnist", "cifar10")}  # what is asked for most, and its data sets


def measure(bench: Bench, section: Section) -> None:
    """Medians of several starts; the files are in the page cache, as after a first start."""
    for at in range(bench.plan.starts):
        bench.say(f"start {at + 1} of {bench.plan.starts}")
        with service(bench) as child:
            models, refused = served(child)
            if refused:
                raise BenchmarkError(f"the service refuses {', '.join(refused)}")
            ready = child.memory_mb()
            # In this order: the same models have names of their own too, by which they would be open already.
            uses = {name: _predict(child, name, dataset) for name, dataset in ALIASES.items()}
            used = _memory_when_used(child, ALIASES)
            uses |= {name: _predict(child, name, dataset) for name, dataset in models.items()}
            for name, value in (
                ("start, s", child.ready_after),
                ("memory, MB", ready),
                ("memory when the aliases are used, MB", used),
                ("slowest first use, s", max(uses.values())),
                ("memory when all are used, MB", _memory_when_used(child, models)),
            ):
                section.rounds.setdefault(name, []).append(value)
    section.figures = {name: statistics.median(values) for name, values in section.rounds.items()}
    section.lines.append(
        f"every one of {len(models)} models answered; the slowest first use: {max(uses, key=uses.__getitem__)}"
    )


def _predict(child: Child, name: str, dataset: str) -> float:
    """Seconds of one prediction."""
    request = (digit if dataset == "mnist" else photo)(f"/predict/{name}")
    began = time.perf_counter()
    answer = ask(child.port, request)
    if answer.status != 200:
        raise BenchmarkError(f"{name} answers {answer.status}: {answer.body[:200]!r}")
    return time.perf_counter() - began


def _memory_when_used(child: Child, models: dict[str, str]) -> float:
    """Megabytes, after some predictions by each of these models, given with their data sets."""
    for _ in range(PREDICTIONS):
        for name, dataset in models.items():
            _predict(child, name, dataset)
    get(child.port, "/metrics")
    return child.memory_mb()
