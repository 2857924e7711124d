"""The load generator, https://github.com/wg/wrk: a closed loop, each connection always waits for its answer."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.serving.child import Child, on_cores
from tests.benchmarks.serving.errors import BenchmarkError, about
from tests.benchmarks.serving.messages import Answer, Request, ask, is_right

MISSING = "wrk is not installed: `apt-get install wrk` on Debian and Ubuntu"
RESULT = "RESULT "
REFUSED = 503
ALIKE = 0.03
"""How far the mean length of the answers under load may be from that of the right one before it: the same image is
answered with the same bytes but for some last digits, where the engine ran it among others. A redirect to the same
place is a tenth longer than the shortest answer, the no-op's."""
# wrk prints rounded figures; the script prints them all, in microseconds.
SCRIPT = """
local file = io.open({body}, "rb")
wrk.method, wrk.body = "POST", file:read("*a")
file:close()
{headers}
function done(summary, latency)
  io.write(string.format(
    '{result}{{"requests": %d, "duration": %d, "p50": %.1f, "p99": %.1f, "failed": %d, "refused": %d, "bytes": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.errors.status, summary.bytes))
end
"""


class Load(NamedTuple):
    """What one load was answered with."""

    per_second: float
    """requests that were not refused"""
    p50_ms: float
    """as the other, of all answers, the refused among them"""
    p99_ms: float
    refused: int
    """answers of status 400 and above"""
    processor_us: float
    """of the server, for each request that was not refused: what the others took is in it"""
    answers: int
    size: float
    """bytes of an answer, the mean"""


def installed() -> bool:
    return shutil.which("wrk") is not None


def load(
    child: Child,
    request: Request,
    right: Callable[[Answer], bool],
    *,
    connections: int,
    seconds: int,
    cores: list[int],
    nice: int = 0,
    may_refuse: bool = False,
) -> Load:
    """Loads a server from other cores.

    Raises BenchmarkError when a request fails or, unless it may, is refused, and when what is served is not what was
    asked for: the answers before and after the load must be right, and those of the load as long as they are. wrk
    counts what is no refusal, and looking at every answer would slow it.
    """
    with about(f"{child.name}, {request.path}"):
        before = answered_rightly(child, request, right)
        wrk = ["nice", "-n", str(nice), "wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "10"]
        found = _run(child, request, [*on_cores(cores), *wrk], seconds)
        if found.refused and not may_refuse:
            raise BenchmarkError(f"{found.refused:,} requests were refused")
        answered_rightly(child, request, right, may_refuse=found.refused > 0)
        _are_alike(found, before.size)
    return found


def answered_rightly(
    child: Child, request: Request, right: Callable[[Answer], bool], *, may_refuse: bool = False
) -> Answer:
    """Raises BenchmarkError for a wrong answer, with its beginning."""
    answer = ask(child.port, request)
    if not (is_right(answer, right) or (may_refuse and answer.status == REFUSED)):
        raise BenchmarkError(f"a wrong answer, {answer.status}: {answer.body[:200]!r}")
    return answer


def _run(child: Child, request: Request, command: list[str], seconds: int) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        script = written(Path(folder), request)
        command = [*command, "-s", str(script), f"http://127.0.0.1:{child.port}{request.path}"]
        before = child.processor_seconds()
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)  # noqa: S603
        used = child.processor_seconds() - before
    return parsed(done.stdout + done.stderr, used)


def _are_alike(found: Load, size: int) -> None:
    """Where the length of the right answer is known, and no refusals, of another length, are among them."""
    if not size or found.refused:
        return
    # wrk may have read a part of one more when it stopped.
    if abs(found.size - size) > ALIKE * size + size / found.answers:
        raise BenchmarkError(
            f"its answers under load had {found.size:,.0f} bytes in the mean, the right one before has {size:,}"
        )


def written(folder: Path, request: Request) -> Path:
    """The request as a script for wrk."""
    body = folder / "body"
    body.write_bytes(request.body)
    headers = "\n".join(
        f"wrk.headers[{_lua(name)}] = {_lua(value)}"
        for name, value in (("Content-Type", request.content_type), *request.headers)
    )
    script = folder / "request.lua"
    script.write_text(SCRIPT.format(body=_lua(str(body)), headers=headers, result=RESULT))
    return script


def _lua(text: str) -> str:
    """A string of its source: JSON's, but for the escapes of letters, which Lua writes otherwise."""
    return json.dumps(text, ensure_ascii=False)


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
        raise BenchmarkError(f"all of {figures['refused']:,} requests were refused")
    return Load(
        per_second=served / (figures["duration"] / 1e6),
        p50_ms=figures["p50"] / 1e3,
        p99_ms=figures["p99"] / 1e3,
        refused=figures["refused"],
        processor_us=1e6 * processor_seconds / served,
        answers=figures["requests"],
        size=figures["bytes"] / figures["requests"],
    )
