"""Where each microsecond of an image in a batch of PNGs goes, as hot_path.py tells it of a request about one image."""

import statistics

from tests.benchmarks.serving.bench import CONNECTIONS, DIGITS, Bench, Section
from tests.benchmarks.serving.beside_no_ops import BATCH, ROWS, batch_of_digits
from tests.benchmarks.serving.child import reported
from tests.benchmarks.serving.hot_path import Part, table_of
from tests.benchmarks.serving.servers import are_labelled, service
from tests.benchmarks.serving.turns import PROCESSOR, Case, Turns

DIFFERENT_DIGITS = 4096
"""too many for a processor to learn their bits by heart, as it does those of 64 in a loop"""
PARTS = {
    "form": "read_many(request)",
    "decode": "images.prepare_each: PNGs → uint8 [64,28,28,1]",
    "engine": f"Model.infer with {ROWS} rows",
    "ranking": "rank(): top-k, margin, entropy",
    "JSON": "to_json of the answer",
}
"""of the endpoint, each timed in a loop"""


def measure(bench: Bench, section: Section) -> None:
    """Microseconds of processor time for one image of 64 in a request."""
    turns = Turns(bench, section)
    with service(bench) as ours:
        turns.add(BATCH, Case(ours, batch_of_digits(DIGITS), are_labelled(ROWS), images=ROWS))
        turns.take("batch path", bench.plan.hot_path_rounds)
    bench.say("batch path: the parts")
    options = ("--seconds", bench.plan.stage_seconds)
    repeats: list[dict[str, float]] = [
        reported("batch_stages", *options, core=bench.cores.server, limit=120)
        for _ in range(bench.plan.hot_path_rounds)
    ]
    stages = {name: statistics.median(one[name] for one in repeats) for name in repeats[0]}
    parts = breakdown(section.median(f"{BATCH}: {PROCESSOR}"), stages)
    section.rounds |= {f"{part.name}: us": [part.microseconds] for part in parts}
    section.rounds |= {f"{name}: us": [stages[name]] for name in ("inflating", "inflating different")}
    section.lines += [
        f"an image of {ROWS} in a request, {CONNECTIONS} connections, processor time:",
        *table_of(parts).splitlines(),
        f"of `decode`, inflating: Python's zlib alone takes {stages['inflating']:.1f} µs for one of these {ROWS},"
        f" {stages['inflating different']:.1f} µs for one of {DIFFERENT_DIGITS:,} digits",
    ]


def breakdown(total: float, stages: dict[str, float]) -> list[Part]:
    """The parts in the order of a request; together they are the total."""
    parts = [Part(name, stages[name], how) for name, how in PARTS.items()]
    between = stages["endpoint"] - sum(part.microseconds for part in parts)
    return [
        *parts,
        Part(
            "between the parts",
            between,
            "the endpoint, a batch at a time, less the parts: answers, colder caches",
        ),
        Part(
            "rest",
            total - stages["endpoint"],
            "the server under load, less the endpoint: HTTP, and runs that several batches share",
        ),
        Part("in all", total, "the server under load, /proc/<pid>/stat"),
    ]
