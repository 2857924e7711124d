"""Requests a second, and what becomes of a request: the service beside no-ops and other servers on the same core.

    python -m tests.benchmarks.serving [--short] [--only SECTION …] [--json FILE]

It prints medians of rounds that take turns, and ratios of neighbouring rounds; nothing here is a test. Needs Linux and
wrk.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tests.benchmarks.arguments import new_file, parser_of, seconds, whole
from tests.benchmarks.serving import (
    batch_path,
    beside_no_ops,
    beside_peers,
    hot_path,
    overload,
    report_file,
    soak,
    start,
    workers,
    wrk,
)
from tests.benchmarks.serving.bench import FULL, SHORT, Bench, Cores, Plan, Section
from tests.benchmarks.serving.errors import BenchmarkError, measuring
from tests.benchmarks.serving.goals import judged
from tests.benchmarks.serving.machine import idle, machine
from tests.benchmarks.serving.tables import report

SECTIONS: dict[str, Callable[[Bench, Section], None]] = {
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
    """Run the sections; 0 when every one could be, whatever it found, and also when a peer was skipped: that one cannot
    be had is told, in the file too, and no fault of the run.

    Raises KeyboardInterrupt before the first of them; later, what was measured by then is told.
    """
    options = _arguments()
    missing = None if wrk.installed() else wrk.MISSING
    if "soak" in options.sections:
        missing = missing or soak.missing()
    if missing:
        print(missing, file=sys.stderr)
        return 2
    for number in _signals():
        signal.signal(number, _interrupted)
    bench = Bench(_plan(options), Cores.allowed(), tuple(name.lower() for name in options.peers))
    if bench.cores.shared:
        bench.say(
            "one core only: the load takes it from the server, and what is measured under load is not judged"
        )
    idle_before = idle(bench.cores)
    if idle_before < QUIET:
        bench.say(f"the cores are only {idle_before:.0%} idle: trust ratios, and processor time above all")
    facts = machine(bench.cores, idle_before)  # now: later an interruption would cost what was measured
    found, failed = measured(bench, options.sections)
    return _finish(options, bench, facts, found, failed)


def measured(bench: Bench, names: Sequence[str]) -> tuple[dict[str, Section], list[str]]:
    """What the sections found, and why others could not: one that fails takes none of the others with it.

    What a section had finished when it failed or was interrupted is kept, and says so. When this returns no signal
    interrupts any more: what was measured is to be written.
    """
    found: dict[str, Section] = {}
    failed: list[str] = []
    name = ""
    try:
        for name in names:
            found[name] = Section()
            try:
                with measuring():
                    SECTIONS[name](bench, found[name])
            except BenchmarkError as error:
                failed.append(f"{name} could not be measured: {error}")
                bench.say(failed[-1])
                _cut_short(found, name, "failed")
        _ignore_signals()
    except KeyboardInterrupt:
        failed.append("interrupted")
        _cut_short(found, name, "was interrupted")
    return found, failed


def _cut_short(found: dict[str, Section], name: str, what: str) -> None:
    """A section that nothing was finished of is none."""
    if found.get(name) == Section():
        del found[name]
    elif name in found:
        found[name].lines.append(f"it {what}: only what was finished before is told")


def _finish(
    options: argparse.Namespace,
    bench: Bench,
    facts: dict[str, Any],
    found: dict[str, Section],
    failed: list[str],
) -> int:
    """The file first: what is printed may find nobody."""
    goals = judged(found.values(), one_core=bench.cores.shared)
    file = options.json or report_file.place(found.keys() >= SECTIONS.keys(), goals, failed)
    try:
        report_file.write(file, report_file.content(bench, facts, found, goals, failed))
    except (OSError, ValueError) as error:
        failed.append(f"{file} could not be written: {error}")
    _print(report(facts, found, goals, failed))
    return 1 if failed else 0


def _print(text: str) -> None:
    """A terminal that was closed gets nothing, nor does `head` that has left."""
    try:
        print(text, flush=True)
    except OSError:
        with suppress(OSError):  # else Python tries it again when it ends, and ends with an error of its own
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plan(options: argparse.Namespace) -> Plan:
    plan = SHORT if options.short else FULL
    given = {
        "rounds": options.rounds,
        "overload_rounds": options.rounds,
        "seconds": options.seconds,
        "soak_seconds": options.soak,
    }
    return replace(plan, **{name: value for name, value in given.items() if value is not None})


def _signals() -> list[signal.Signals]:
    """Ctrl-C also where a shell has it ignored, as in the background; a closed terminal unless nohup is in use."""
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if nohup else [signal.SIGHUP])]


def _interrupted(*_: object) -> None:
    """Once: a second one would end what ends the servers, and leave them running."""
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _arguments() -> argparse.Namespace:
    """With `sections`, the names of those to be measured."""
    parser = _parser()
    options = parser.parse_args()
    for name in options.peers:
        if not beside_peers.named((name.lower(),)):
            known = "; ".join(peer.name for peer in beside_peers.PEERS)
            parser.error(f"no peer's name begins with {name!r}: there are {known}")
    options.sections = options.only or [name for name in SECTIONS if not (options.short and name in LONG)]
    for section, given in {"peers": options.peers, "soak": options.soak}.items():
        if given and section not in options.sections:
            parser.error(f"--{section} without the section {section}: --only {section} measures it")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__)
    parser.prog = "python -m tests.benchmarks.serving"
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
    parser.add_argument(
        "--json",
        type=new_file,
        metavar="FILE",
        help=f"(default {report_file.REPORT}, or {report_file.REPORT_OF_A_PART.name} there unless the run was whole: "
        "every section finished, every goal judged)",
    )
    return parser
