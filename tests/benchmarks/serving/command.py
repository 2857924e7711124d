"""Requests a second, and what becomes of a request: the service beside no-ops and other servers on the same core.

    python -m tests.benchmarks.serving [--short] [--only SECTION …] [--json FILE]

It prints medians of rounds that take turns, and ratios of neighbouring rounds; nothing here is a test. Needs Linux and
wrk.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.arguments import new_file, seconds, whole
from tests.benchmarks.serving import (
    batch_path,
    beside_no_ops,
    beside_peers,
    hot_path,
    overload,
    soak,
    start,
    workers,
    wrk,
)
from tests.benchmarks.serving.bench import FOLDER, FULL, SHORT, Bench, Cores, Plan, Section
from tests.benchmarks.serving.errors import BenchmarkError, measuring
from tests.benchmarks.serving.goals import judged
from tests.benchmarks.serving.machine import idle, machine
from tests.benchmarks.serving.tables import report

SECTIONS: dict[str, Callable[[Bench], Section]] = {
    "no-ops": beside_no_ops.measure,
    "peers": beside_peers.measure,
    "start": start.measure,
    "overload": overload.measure,
    "workers": workers.measure,
    "hot-path": hot_path.measure,
    "batch-path": batch_path.measure,
    "soak": soak.measure,
}
QUIET = 0.9
LONG = ("peers", "workers", "batch-path", "soak")
"""not in the short form"""


def main() -> int:
    """Run the sections; 0 when every one could be, whatever it found.

    Raises KeyboardInterrupt before the first of them; later, what was measured by then is told.
    """
    options = _arguments()
    if not wrk.installed():
        print(wrk.MISSING, file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has it ignored, as in the background
        signal.signal(number, _interrupted)
    bench = Bench(_plan(options), Cores.allowed(), tuple(name.lower() for name in options.peers))
    names = options.only or [name for name in SECTIONS if not (options.short and name in LONG)]
    idle_before = idle(bench.cores)
    if idle_before < QUIET:
        bench.say(f"the cores are only {idle_before:.0%} idle: trust ratios, and processor time above all")
    found, failed = measured(bench, names)
    return _finish(options.json, bench, machine(bench.cores, idle_before), found, failed)


def measured(bench: Bench, names: Sequence[str]) -> tuple[dict[str, Section], list[str]]:
    """What the sections found, and why others could not: one that fails takes none of the others with it."""
    found: dict[str, Section] = {}
    failed: list[str] = []
    try:
        for name in names:
            try:
                with measuring():
                    found[name] = SECTIONS[name](bench)
            except BenchmarkError as error:
                failed.append(f"{name} could not be measured: {error}")
                bench.say(failed[-1])
    except KeyboardInterrupt:
        failed.append("interrupted")
    return found, failed


def _finish(
    file: Path, bench: Bench, facts: dict[str, Any], found: dict[str, Section], failed: list[str]
) -> int:
    goals = judged(found.values())
    print(report(facts, found, goals, failed))
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": facts,
        "plan": asdict(bench.plan),
        "sections": {name: section.as_json() for name, section in found.items()},
        "goals": [asdict(one) for one in goals],
        "failed": failed,
    }
    file.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return 1 if failed else 0


def _plan(options: argparse.Namespace) -> Plan:
    plan = SHORT if options.short else FULL
    given = {
        "rounds": options.rounds,
        "overload_rounds": options.rounds,
        "seconds": options.seconds,
        "soak_seconds": options.soak,
    }
    return replace(plan, **{name: value for name, value in given.items() if value is not None})


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help="within a minute: short rounds; no peers, workers, batch path, soak",
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument(
        "--peers", nargs="+", default=[], metavar="NAME", help="only those whose name begins so"
    )
    parser.add_argument("--rounds", type=whole(1), help="in which loads take turns")
    parser.add_argument("--seconds", type=whole(1), help="of one load, whole")
    parser.add_argument("--soak", type=seconds, metavar="SECONDS", help="of the soak (default 300)")
    parser.add_argument("--json", type=new_file, default=FOLDER / "report.json", help="(default %(default)s)")
    options = parser.parse_args()
    for name in options.peers:
        if not beside_peers.named((name.lower(),)):
            known = "; ".join(peer.name for peer in beside_peers.PEERS)
            parser.error(f"no peer's name begins with {name!r}: there are {known}")
    return options
