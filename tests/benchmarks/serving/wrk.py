"""The load generator, https://github.com/wg/wrk: a closed loop, each connection always waits for its answer."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.serving.child import Child, on_cores
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import Request

MISSING = "wrk is not installed: `apt-get install wrk` on Debian and Ubuntu"
RESULT = "RESULT "
# wrk prints rounded figures; the script prints them all, in microseconds.
SCRIPT = """
local file = io.open("{body}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
file:close()
{headers}
function done(summary, latency)
  io.write(string.format(
    '{result}{{"requests": %d, "duration": %d, "p50": %.1f, "p99": %.1f, "failed": %d, "refused": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.errors.status))
end
"""


class Load(NamedTuple):
    """What one load was answered with."""

    per_second: float
    """requests that were not refused"""
    p50_ms: float
    p99_ms: float
    refused: int
    """answers of status 400 and above"""
    processor_us: float
    """of the server, for each request that was not refused: what the others took is in it"""


def installed() -> bool:
    return shutil.which("wrk") is not None


def load(
    child: Child,
    request: Request,
    *,
    connections: int,
    seconds: int,
    cores: list[int],
    nice: int = 0,
    may_refuse: bool = False,
) -> Load:
    """Loads a server from other cores. Raises BenchmarkError when a request fails or, unless it may, is refused."""
    with tempfile.TemporaryDirectory() as folder:
        script = written(Path(folder), request)
        command = [
            *on_cores(cores),
            "nice",
            "-n",
            str(nice),
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}",
        ]
        command += ["--timeout", "10", "-s", str(script), f"http://127.0.0.1:{child.port}{request.path}"]
        before = child.processor_seconds()
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)  # noqa: S603
        used = child.processor_seconds() - before
    result = parsed(done.stdout + done.stderr, used)
    if result.refused and not may_refuse:
        raise BenchmarkError(f"{child.name} refused {result.refused} requests to {request.path}")
    return result


def written(folder: Path, request: Request) -> Path:
    """The request as a script for wrk."""
    body = folder / "body"
    body.write_bytes(request.body)
    headers = "\n".join(
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}"
        for name, value in (("Content-Type", request.content_type), *request.headers)
    )
    script = folder / "request.lua"
    script.write_text(SCRIPT.format(body=body, headers=headers, result=RESULT))
    return script


def parsed(output: str, processor_seconds: float) -> Load:
    """What the script printed. Raises BenchmarkError when there is nothing of it, or connections failed."""
    line = next((line for line in output.splitlines() if line.startswith(RESULT)), None)
    if line is None:
        raise BenchmarkError(f"wrk gave no result: {output.strip()[-300:]}")
    figures = json.loads(line.removeprefix(RESULT))
    if figures["failed"] or not figures["requests"]:
        raise BenchmarkError(
            f"{figures['failed']} connections failed, {figures['requests']} requests were answered"
        )
    served = figures["requests"] - figures["refused"]
    if not served:
        raise BenchmarkError(f"all of {figures['refused']} requests were refused")
    return Load(
        per_second=served / (figures["duration"] / 1e6),
        p50_ms=figures["p50"] / 1e3,
        p99_ms=figures["p99"] / 1e3,
        refused=figures["refused"],
        processor_us=1e6 * processor_seconds / served,
    )
