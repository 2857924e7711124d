"""Which batch sizes an engine is tried with, and where."""

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.serving import engine_alone
from tests.benchmarks.serving.bench import SHORT, Bench, Cores
from tests.benchmarks.serving.child import inherited
from tests.benchmarks.serving.engine_alone import LONG_RUN, ROWS, Best
from tests.benchmarks.serving.messages import test_images as images_of

IMAGES = images_of("mnist", max(ROWS))


@pytest.mark.parametrize(
    ("seconds_a_row", "largest"), [(LONG_RUN / 1000, max(ROWS)), (LONG_RUN / 20, 32), (2 * LONG_RUN, 1)]
)
def test_no_batch_is_tried_beyond_the_first_that_takes_long(
    monkeypatch: pytest.MonkeyPatch, seconds_a_row: float, largest: int
) -> None:
    tried: list[int] = []

    def timed(model: Any, images: Any, seconds: float) -> Best:
        tried.append(len(images))
        return Best(1 / seconds_a_row, 1e6 * seconds_a_row)

    monkeypatch.setattr(engine_alone, "_best", timed)
    found = engine_alone._sweep(model=None, images=IMAGES)  # type: ignore[arg-type]
    assert tried == list(found) == [rows for rows in ROWS if rows <= largest]


class Process:
    """A child that has said what it can, and answers one order."""

    def __init__(self) -> None:
        said = (
            {"engine": "onnxruntime", "sweep": {"1": 10.0, "2": 30.0, "4": 20.0}},
            {"per_second": 40.0, "processor_us": 5.0},
        )
        self.stdout = io.StringIO("".join(f"{json.dumps(one)}\n" for one in said))
        self.stdin = io.StringIO()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def terminate(self) -> None:
        pass


def test_the_engine_has_the_servers_core_and_the_services_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[SimpleNamespace] = []
    process = Process()

    def popen(command: list[str], **options: Any) -> Process:
        begun.append(SimpleNamespace(command=command, environment=options["env"]))
        return process

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setenv("CONVSCOPE_ENGINE", "onnxruntime")
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    with engine_alone.engines_alone(Bench(SHORT, Cores(server=3, load=5)), ("mnist",)) as engines:
        best = engines["mnist"].measure(0.5)
    module = engine_alone.__name__
    assert begun[0].command == [
        "timeout",
        "1800",
        "taskset",
        "-c",
        "3",
        sys.executable,
        "-m",
        module,
        "mnist",
    ]
    assert begun[0].environment == inherited() | {"CONVSCOPE_LOG_LEVEL": "error"}
    assert begun[0].environment["CONVSCOPE_ENGINE"] == os.environ["CONVSCOPE_ENGINE"]
    assert process.stdin.getvalue() == "mnist 2 0.5\n"  # the size that was fastest
    assert best == Best(40.0, 5.0)
