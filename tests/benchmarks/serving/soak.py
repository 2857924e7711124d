"""Minutes of mixed load, valid and not: whether memory grows after the first, and whether anything answers 500."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from service.settings import ROOT
from tests.benchmarks.serving.bench import Bench, Section
from tests.benchmarks.serving.child import Child, on_cores
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.mixed_load import MIXED
from tests.benchmarks.serving.servers import service
from training.missing import advice

FIRST_MINUTE = 60.0
EVERY = 0.5  # seconds between two readings
LONG_ENOUGH = 2 * FIRST_MINUTE  # seconds of a soak that can tell growth from what is only taken once
AT_EACH_END = 10.0  # seconds whose readings are one: a median


def missing() -> str | None:
    """What the mixed load needs and is not installed, and what to do about it."""
    return None if find_spec("httpx") else advice("httpx")


def measure(bench: Bench, section: Section) -> None:
    """Growth only if it is long enough for it."""
    seconds = bench.plan.soak_seconds
    if seconds <= 0:
        section.lines.append("of no seconds: not measured; --soak SECONDS gives it some")
        return
    with service(bench, limit=seconds + 300) as child, tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [*on_cores([bench.cores.load]), "timeout", str(round(seconds) + 120), sys.executable, "-m"]
        command += [
            "tests.benchmarks.serving.mixed_load",
            "--port",
            str(child.port),
            "--seconds",
            str(seconds),
        ]
        with subprocess.Popen([*command, "--json", str(result)], cwd=ROOT, start_new_session=True) as load:  # noqa: S603
            try:
                readings = _watched(bench, section, child, load, seconds)
            finally:
                load.terminate()
        if load.returncode:
            raise BenchmarkError(f"the mixed load failed; the service: {child.last_words()}")
        _answers(section, json.loads(result.read_text()))
    _memory(section, readings, seconds)


def _watched(
    bench: Bench, section: Section, child: Child, load: "subprocess.Popen[bytes]", seconds: float
) -> list[tuple[float, float]]:
    """(seconds, megabytes) until the load is over; the section has what was read also if it never is."""
    began, said = time.monotonic(), 0.0
    readings: list[tuple[float, float]] = []
    kept = section.rounds.setdefault("soak: MB", [])
    while load.poll() is None:
        now = time.monotonic() - began
        readings.append((now, child.memory_mb()))
        kept.append(readings[-1][1])
        if now >= said:
            bench.say(f"soak: {now:.0f} of {seconds:.0f} s, {readings[-1][1]:.1f} MB")
            said += 30
        time.sleep(EVERY)
    return readings


def _memory(section: Section, readings: list[tuple[float, float]], seconds: float) -> None:
    """`readings` are (seconds, megabytes) of a soak that was to last `seconds`."""
    section.lines.append(
        f"{seconds:.0f} s; memory went from {readings[0][1]:.1f} to {readings[-1][1]:.1f} MB"
    )
    if seconds < LONG_ENOUGH:
        section.lines.append(
            f"growth after the first minute is not judged: that takes a soak of {LONG_ENOUGH:.0f} s"
        )
    else:
        section.figures["soak: growth, MB"] = growth(readings, FIRST_MINUTE, AT_EACH_END)


def growth(readings: list[tuple[float, float]], after: float, span: float) -> float:
    """Megabytes from `after` seconds to the end, each end the median of a span of readings."""
    last = readings[-1][0]
    first = [megabytes for at, megabytes in readings if after <= at <= after + span]
    end = [megabytes for at, megabytes in readings if at >= last - span]
    return statistics.median(end) - statistics.median(first)


def _answers(section: Section, counts: dict[str, dict[str, int]]) -> None:
    """`counts` is how often each kind of request was answered with each status.

    Each has one that is right, also refusals: a few callers who wait for their answers are no overload.
    """
    section.figures["soak: requests"] = requests = sum(sum(statuses.values()) for statuses in counts.values())
    if not requests:
        raise BenchmarkError("the mixed load got no answer at all")
    section.figures["soak: answered 500"] = sum(statuses.get("500", 0) for statuses in counts.values())
    wrong = 0
    for kind, statuses in counts.items():
        expected = MIXED[kind].status
        text = ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items()))
        others = sum(count for status, count in statuses.items() if int(status) != expected)
        wrong += others
        section.lines.append(f"{kind}: {text}" + (f": {others:,} are not {expected}" if others else ""))
    section.figures["soak: other answers than expected"] = wrong
