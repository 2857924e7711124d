"""Where each microsecond of a prediction goes: processor time of a server under load, and of its parts in a loop.

The server's own is measured from outside at 32 clients (/proc), and so is the bare app's, which is the HTTP server
alone. stages.py times the application and its parts in a process of its own; what a part does not explain is a
difference, and said to be one.
"""

import statistics
from typing import NamedTuple

from tests.benchmarks.serving.bench import DIGITS, Bench, Section
from tests.benchmarks.serving.beside_no_ops import BARE
from tests.benchmarks.serving.child import reported
from tests.benchmarks.serving.models import rows_a_run
from tests.benchmarks.serving.servers import digit, is_answered, is_seven, no_op, service
from tests.benchmarks.serving.tables import table
from tests.benchmarks.serving.turns import PROCESSOR, Case, Turns

OURS = "this project"
PARTS = {
    "routing": "the gate with an endpoint that does nothing: finding it, request, response, counters",
    "body": "read_one(request)",
    "decode": "images.prepare: PNG → uint8 [28,28,1]",
    "queue": "Batcher.submit of 32 callers around a run that does nothing",
    "engine": "Model.infer with as many rows as a run had under load, an image's share",
    "ranking": "rank(): top-k, margin, entropy",
    "JSON": "to_json of the answer",
}
"""of the application, each timed in a loop"""


class Part(NamedTuple):
    """Of what a prediction takes."""

    name: str
    microseconds: float
    how: str
    """it was got"""


def measure(bench: Bench, section: Section) -> None:
    """Microseconds of processor time for one prediction at 32 clients."""
    turns = Turns(bench, section)
    with no_op(bench, BARE) as bare, service(bench) as ours:
        turns.add(BARE, Case(bare, digit(), is_answered))
        turns.add(OURS, Case(ours, digit(), is_seven))
        turns.take("hot path", bench.plan.hot_path_rounds)
        rows = max(1, round(rows_a_run(ours, DIGITS)))
    bench.say(f"hot path: the parts, with {rows} rows a run")
    repeats = [_stages(bench, rows) for _ in range(bench.plan.hot_path_rounds)]
    stages = {name: statistics.median(one[name] for one in repeats) for name in repeats[0]}
    total, http = section.median(f"{OURS}: {PROCESSOR}"), section.median(f"{BARE}: {PROCESSOR}")
    parts = breakdown(total, http, stages)
    section.rounds |= {f"{part.name}: us": [part.microseconds] for part in parts}
    section.lines += [
        f"one prediction at 32 clients, {rows} rows a run, processor time:",
        *table_of(parts).splitlines(),
    ]


def breakdown(total: float, http: float, stages: dict[str, float]) -> list[Part]:
    """The parts in the order of a request; together they are the total."""
    parts = [Part(name, stages[name], how) for name, how in PARTS.items()]
    between = stages["application"] - sum(part.microseconds for part in parts)
    rest = total - http - stages["application"]
    return [
        Part(
            "HTTP server and parsing",
            http,
            "the bare ASGI app under the same load (two writes an answer; ours is one)",
        ),
        *parts,
        Part(
            "between the parts",
            between,
            "the application past the server, 32 calls at a time, less the parts: awaits, colder caches",
        ),
        Part(
            "rest",
            rest,
            "the server under load, less HTTP and the application: smaller runs, wake-ups, larger answers",
        ),
        Part("in all", total, "the server under load, /proc/<pid>/stat"),
    ]


def table_of(parts: list[Part]) -> str:
    """Markdown; the last part is the whole, of which each is a share."""
    total = parts[-1].microseconds
    rows = [
        (part.name, part.how, f"{part.microseconds:.1f}", f"{100 * part.microseconds / total:.0f} %")
        for part in parts
    ]
    return table(("part", "how it was got", "µs", "share"), rows, left=2)


def _stages(bench: Bench, rows: int) -> dict[str, float]:
    options = ("--rows", rows, "--seconds", bench.plan.stage_seconds)
    found: dict[str, float] = reported("stages", *options, core=bench.cores.server, limit=120)
    return found
