"""A load that does not wait: requests leave at a fixed rate, whatever became of those before.

    python -m tests.benchmarks.serving.open_loop --port PORT --request FILE --rate N --seconds S

The raw request in FILE is sent over as many connections as there are unanswered requests, up to a limit; beyond
it a request is counted as unsent. One line of JSON is printed.
"""

import argparse
import asyncio
import json
import re
import resource
import statistics
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

TICK = 0.001  # seconds between two bursts
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
LATE = 5.0  # seconds that answers may take after the last request


class Connection(asyncio.Protocol):
    """One request at a time; tells its load when it is answered or lost."""

    def __init__(self, load: "OpenLoop") -> None:
        self._load = load
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.sent_at = 0.0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # By protocol a transport that can write; uvloop's is no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, now: float) -> None:
        assert self._transport is not None
        self.sent_at, self.busy = now, True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        status = answered(self._buffer)
        if status:
            self._buffer, self.busy = b"", False
            self._load.answered(self, status)

    def connection_lost(self, _: Exception | None) -> None:
        self._load.lost(self)


class OpenLoop:
    """One load: how it is paced, and what it counts once `warm` seconds are over."""

    def __init__(self, port: int, request: bytes, rate: float, *, limit: int) -> None:
        self._port = port
        self._request = request
        self._rate = rate
        self._limit = limit
        self._free: deque[Connection] = deque()
        self._open = 0
        self._waiting = 0
        self._counting = False
        self._sent = self._unsent = self._lost = 0
        self._times: dict[int, list[float]] = {}

    async def run(self, seconds: float, warm: float) -> dict[str, Any]:
        """Sends for warm + seconds; counts what was sent and answered in the last of them."""
        loop = asyncio.get_running_loop()
        began, done = loop.time(), 0
        while (elapsed := loop.time() - began) < warm + seconds:
            if not self._counting and elapsed >= warm:
                self._counting, counted_from = True, elapsed
            due = int(elapsed * self._rate)
            await self._send(due - done)
            done = due
            await asyncio.sleep(TICK)
        self._counting = False
        counted = elapsed - counted_from
        answers = {status: list(times) for status, times in self._times.items()}
        until = loop.time() + LATE
        while self._waiting and loop.time() < until:  # noqa: ASYNC110 — a load that is ending hurries nobody
            await asyncio.sleep(0.01)
        return self._result(counted, answers)

    async def _send(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            if not self._free and self._open < self._limit:
                self._open += 1
                _, connection = await loop.create_connection(
                    lambda: Connection(self), "127.0.0.1", self._port
                )
                self._free.append(connection)
            if not self._free:
                self._unsent += self._counting
                continue
            self._waiting += 1
            self._sent += self._counting
            self._free.pop().send(self._request, loop.time())

    def answered(self, connection: Connection, status: int) -> None:
        self._waiting -= 1
        self._free.append(connection)
        if self._counting:
            took = asyncio.get_running_loop().time() - connection.sent_at
            self._times.setdefault(status, []).append(took)

    def lost(self, connection: Connection) -> None:
        """The server closed it."""
        self._open -= 1
        if connection.busy:
            self._waiting -= 1
            self._lost += 1
        elif connection in self._free:
            self._free.remove(connection)

    def _result(self, seconds: float, answers: dict[int, list[float]]) -> dict[str, Any]:
        return {
            "sent_per_second": self._sent / seconds,
            "unsent_per_second": self._unsent / seconds,
            "answered_per_second": {status: len(times) / seconds for status, times in answers.items()},
            "p50_ms": {status: 1000 * statistics.median(times) for status, times in answers.items()},
            "p99_ms": {status: 1000 * percentile(times, 0.99) for status, times in answers.items()},
            "lost": self._lost,
            "connections": self._open,
        }


def answered(buffer: bytes) -> int:
    """The status of the answer that the buffer holds, or 0 while it is not whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    length = LENGTH.search(buffer, 0, end + 2)
    if length is None:
        raise ValueError("an answer without Content-Length")
    return int(buffer[9:12]) if len(buffer) >= end + 4 + int(length[1]) else 0


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--request", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm", type=float, default=1.0, help="seconds before that, not counted")
    parser.add_argument("--limit", type=int, default=4096, help="connections")
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    load = OpenLoop(options.port, options.request.read_bytes(), options.rate, limit=options.limit)
    print(json.dumps(_run(load, options.seconds, options.warm)))


def _run(load: OpenLoop, seconds: float, warm: float) -> dict[str, Any]:
    try:
        import uvloop  # noqa: PLC0415 — where the project installs it
    except ImportError:
        return asyncio.run(load.run(seconds, warm))
    return uvloop.run(load.run(seconds, warm))


if __name__ == "__main__":
    main()
