"""What is sent with wrk, and what is read of what it prints."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import Request
from tests.benchmarks.serving.wrk import RESULT, parsed, written

PRINTED = """Running 2s test @ http://127.0.0.1:1/
  1 threads and 32 connections
  8000 requests in 2.00s, 1.00MB read
Requests/sec:   4000.00
"""


def printed(**changes: float) -> str:
    figures = {
        "requests": 8000,
        "duration": 2_000_000,
        "p50": 7900.0,
        "p99": 12_500.0,
        "failed": 0,
        "refused": 0,
    }
    pairs = ", ".join(f'"{name}": {value}' for name, value in (figures | changes).items())
    return f"{PRINTED}{RESULT}{{{pairs}}}\n"


def test_the_scripts_line_is_read_among_wrks_own() -> None:
    found = parsed(printed(), processor_seconds=1.6)
    assert found.per_second == 4000
    assert (found.p50_ms, found.p99_ms) == (7.9, 12.5)
    assert found.processor_us == pytest.approx(200)


def test_refused_requests_are_no_throughput_but_took_time() -> None:
    found = parsed(printed(refused=6000), processor_seconds=1.6)
    assert (found.per_second, found.refused) == (1000, 6000)
    assert found.processor_us == pytest.approx(800)


@pytest.mark.parametrize(
    "output",
    [
        "unable to connect to 127.0.0.1:1 Connection refused",
        printed(failed=3),
        printed(requests=0),
        printed(refused=8000),
    ],
)
def test_a_load_that_was_none_is_no_measurement(output: str) -> None:
    with pytest.raises(BenchmarkError):
        parsed(output, 1.0)


def test_a_request_is_written_as_it_is(tmp_path: Path) -> None:
    request = Request("/x", b'\x00"\n]]', "image/png", (("Inference-Header-Content-Length", "7"),))
    script = written(tmp_path, request)
    assert (tmp_path / "body").read_bytes() == request.body
    text = script.read_text()
    assert 'wrk.headers["Content-Type"] = "image/png"' in text
    assert 'wrk.headers["Inference-Header-Content-Length"] = "7"' in text


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_itself_prints_what_is_read(tmp_path: Path) -> None:
    """Where nothing listens it says so, and that is not taken for a result."""
    script = written(tmp_path, Request("/", b"x", "text/plain"))
    command = ["wrk", "-t1", "-c1", "-d1", "-s", str(script), "http://127.0.0.1:9/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    with pytest.raises(BenchmarkError, match="no result"):
        parsed(done.stdout + done.stderr, 1.0)
