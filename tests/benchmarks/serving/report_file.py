"""The file of a run: everything that was measured, as JSON."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.serving.bench import FOLDER, Bench, Section
from tests.benchmarks.serving.goals import Judged
from training.whole_files import written

REPORT = FOLDER / "report.json"
REPORT_OF_A_PART = FOLDER / "report-part.json"
"""so that no part is written over a whole run of half an hour"""


def place(every: bool, goals: Sequence[Judged], failed: Sequence[str]) -> Path:
    """Whole is a run of every section in which nothing failed or was interrupted and every goal was judged: with all
    peers, a soak that is long enough, and a core for the load. However few its rounds are, it says so itself."""
    return REPORT if every and not failed and all(one.is_settled for one in goals) else REPORT_OF_A_PART


def content(
    bench: Bench,
    facts: Mapping[str, Any],
    found: Mapping[str, Section],
    goals: Sequence[Judged],
    failed: Sequence[str],
) -> dict[str, Any]:
    """`failed` is of the run's own faults; `skipped`, by name, what this machine could not measure."""
    return {
        "machine": facts,
        "plan": asdict(bench.plan) | {"peers": bench.peers or "all"},
        "sections": {name: section.as_json() for name, section in found.items()},
        "goals": [one.as_json() for one in goals],
        "failed": failed,
        "skipped": {name: why for section in found.values() for name, why in section.skipped.items()},
    }


def write(file: Path, report: Mapping[str, Any]) -> None:
    """As a whole or not at all: a full disk takes nothing of the run before. What is no file, such as a pipe or
    /dev/stdout, wherever that leads, is added to, and what lies where no other can be put beside it written over.

    Raises OSError, and ValueError for what JSON has no number for.
    """
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    if file.is_relative_to("/dev") or file.is_relative_to("/proc") or (file.exists() and not file.is_file()):
        with file.open("a") as stream:
            stream.write(text)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    target = file.resolve()
    if not os.access(target.parent, os.W_OK):
        file.write_text(text)
        return
    with written(target, target.with_name(f"{target.name}.partial")) as partial:
        partial.write_text(text)
