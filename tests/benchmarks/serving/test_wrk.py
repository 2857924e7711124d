"""What is sent with wrk, and what is read of what it prints."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import Request
from tests.benchmarks.serving.wrk import RESULT, parsed, written

CONNECTIONS = 4
PRINTED = """Running 2s test @ http://127.0.0.1:1/
  1 threads and 32 connections
  8000 requests in 2.00s, 1.00MB read
Requests/sec:   4000.00
"""


FIGURES = {
    "requests": 8000,
    "duration": 2_000_000,
    "p50": 7900.0,
    "p99": 12_500.0,
    "failed": 0,
    "refused": 0,
    "bytes": 8000 * 121,
}


def printed(**changes: float) -> str:
    pairs = ", ".join(f'"{name}": {value}' for name, value in (FIGURES | changes).items())
    return f"{PRINTED}{RESULT}{{{pairs}}}\n"


def test_the_scripts_line_is_read_among_wrks_own() -> None:
    found = parsed(printed(), processor_seconds=1.6)
    assert found.per_second == 4000
    assert (found.p50_ms, found.p99_ms) == (7.9, 12.5)
    assert found.processor_us == pytest.approx(200)
    assert (found.answers, found.size) == (8000, 121)


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
    assert f'io.open("{tmp_path}/body", "rb")' in text
    assert 'wrk.headers["Content-Type"] = "image/png"' in text
    assert 'wrk.headers["Inference-Header-Content-Length"] = "7"' in text


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_that_reaches_nobody_says_so_and_that_is_no_result(tmp_path: Path) -> None:
    done = run_wrk(tmp_path, "http://127.0.0.1:9/")
    with pytest.raises(BenchmarkError, match="no result"):
        parsed(done, 1.0)


class EveryThirdIsRefused(asyncio.Protocol):
    """Answers 200, 200, 503 and so on, over all of its connections."""

    def __init__(self, asked: list[bytes]) -> None:
        self._asked = asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._asked.append(data)
        status = b"200 OK" if len(self._asked) % 3 else b"503 Service Unavailable"
        self._transport.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n{}")


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
async def test_wrk_itself_prints_what_is_read(tmp_path: Path) -> None:
    """Also where folders for what is temporary have a name that is none of Lua's."""
    tmp_path = tmp_path / 'a "folder\\n" of Zoë'
    tmp_path.mkdir()
    asked: list[bytes] = []
    async with listening(EveryThirdIsRefused, asked) as port:
        output = await asyncio.to_thread(run_wrk, tmp_path, f"http://127.0.0.1:{port}/x")
    assert all(one.startswith(b"POST /x HTTP/1.1\r\n") and one.endswith(b"\r\n\r\nbody") for one in asked)
    assert b"\r\nContent-Type: text/plain\r\n" in asked[0]
    found = parsed(output, processor_seconds=1.0)
    served = 1e6 / found.processor_us
    # wrk asks once more when it stops.
    assert len(asked) - CONNECTIONS <= served + found.refused <= len(asked)
    assert found.refused == pytest.approx(len(asked) / 3, abs=CONNECTIONS)
    assert found.answers == pytest.approx(served + found.refused)
    assert found.size == pytest.approx((2 * 40 + 57) / 3, abs=0.5)
    assert served / found.per_second == pytest.approx(1, rel=0.5)  # seconds
    assert found.p50_ms == pytest.approx(told(output, "50%"), rel=0.02)
    assert found.p99_ms == pytest.approx(told(output, "99%"), rel=0.02)


@asynccontextmanager
async def listening(server: type[EveryThirdIsRefused], asked: list[bytes]) -> AsyncIterator[int]:
    """A port. At the end wrk has left, which takes the loop some turns to see of each connection."""
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: server(asked), "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1]
        for _ in range(20):
            await asyncio.sleep(0)


class ClosesEveryThird(EveryThirdIsRefused):
    """Without an answer."""

    def data_received(self, data: bytes) -> None:
        if len(self._asked) % 3 == 2:
            self._asked.append(data)
            self._transport.close()
        else:
            super().data_received(data)


class AnswersLate(EveryThirdIsRefused):
    """Later than wrk is told to wait."""

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(1.1, super().data_received, data)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@pytest.mark.parametrize(("server", "seconds"), [(ClosesEveryThird, 1), (AnswersLate, 2)])
async def test_connections_that_break_or_are_answered_late_void_a_load(
    tmp_path: Path, server: type[EveryThirdIsRefused], seconds: int
) -> None:
    async with listening(server, []) as port:
        output = await asyncio.to_thread(run_wrk, tmp_path, f"http://127.0.0.1:{port}/", seconds)
    with pytest.raises(BenchmarkError, match=r"[1-9]\d* connections failed"):
        parsed(output, 1.0)


def run_wrk(folder: Path, url: str, seconds: int = 1) -> str:
    """All that it prints."""
    script = written(folder, Request("/", b"body", "text/plain"))
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}",
        "--timeout",
        "1",
        "--latency",
        "-s",
        str(script),
        url,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    return done.stdout + done.stderr


def told(output: str, share: str) -> float:
    """Milliseconds, of wrk's own rounded table."""
    found = re.search(rf"^ +{share} +([\d.]+)(us|ms|s)$", output, re.MULTILINE)
    assert found is not None
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]
