"""A load that does not wait: requests leave at a fixed rate, whatever became of those before.

    python -m tests.benchmarks.serving.open_loop --port PORT --request FILE --rate N --seconds S

It stands for a number of clients, each with a connection that is open before the first request is due. Every request
has its moment, and is sent then over the connection that has waited for nothing the longest: who was just refused is
not the next to ask, unless `--clients again` says so. With `--clients anew` there are none before: each opens a
connection at the moment of its only request, and closes it after the answer. Where all of them wait for answers it is
the server that holds the request back, and it is never sent. One line of JSON is printed.
"""

import asyncio
import json
import math
import re
import resource
import statistics
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

from tests.benchmarks.arguments import parser_of
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.loops import run

now = time.perf_counter  # uvloop's own clock counts milliseconds
Clients = Literal["in turn", "again", "anew"]
TICK = 0.001  # seconds between two bursts
BEHIND = 0.05  # seconds after its moment that a request is still sent; to send it later would be another load
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
OPENING = 30.0  # seconds in which all connections must be open
LATE = 12.0  # seconds that answers may take after the last request: by its deadline, ten, the service has said 504


class Connection(asyncio.Protocol):
    """One request at a time; tells its load when it is open, answered or lost."""

    def __init__(self, load: "OpenLoop") -> None:
        self._load = load
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.sent_at = 0.0
        self.busy = False
        self.counted = False
        """whether what it waits for was due when requests were counted"""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # By protocol a transport that can write; uvloop's is no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._load.opened(self)

    def ask(self, *, counted: bool) -> None:
        """Now, even if it is not open yet: who waits for a connection waits."""
        self.sent_at, self.busy, self.counted = now(), True, counted

    def send(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        status = answered(self._buffer)
        if status:
            self._buffer, self.busy = b"", False
            self._load.answered(self, status)

    def connection_lost(self, _: Exception | None) -> None:
        self._load.lost(self)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.abort()


class OpenLoop:
    """One load. What is due in its last `seconds` is counted: sent, held back by the server, or missed by itself."""

    def __init__(
        self, port: int, request: bytes, rate: float, *, limit: int, clients: Clients = "in turn"
    ) -> None:
        """`clients`: in turn, or over the connection that was answered last, so that few ask again and again, or anew:
        one connection for each request."""
        self._port = port
        self._request = request
        self._rate = rate
        self._limit = limit
        self._clients = clients
        self._open: set[Connection] = set()
        self._free: deque[Connection] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._over = False
        self._counts_from = self._counts_until = 0.0
        self._sent = self._held_back = self._missed = self._lost = 0
        self._waiting = self._most_waiting = 0
        self._answers: Counter[int] = Counter()
        self._times: dict[int, list[float]] = {}

    async def run(self, seconds: float, warm: float) -> dict[str, Any]:
        """Sends for warm + seconds. Raises BenchmarkError when the connections cannot be opened."""
        try:
            if self._clients != "anew":
                await self._open_all()
            await self._pace(seconds, warm)
            unanswered = await self._last_answers()
        finally:
            self._over = True
            for connection in self._open:
                connection.close()
        return self._result(seconds) | {"unanswered": unanswered}

    async def _open_all(self) -> None:
        try:
            async with asyncio.timeout(OPENING):
                for _ in range(self._limit):
                    await self._connect(Connection(self))
        except OSError as error:
            why = str(error) or f"no other within {OPENING:.0f} s"
            raise BenchmarkError(f"{len(self._open)} of {self._limit} connections are open: {why}") from error

    async def _connect(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: connection, "127.0.0.1", self._port)

    async def _pace(self, seconds: float, warm: float) -> None:
        """Every request at its moment, those of the same tick at once."""
        began = now()
        self._counts_from, self._counts_until = began + warm, began + warm + seconds
        done, counted_from, every = 0, round(self._rate * warm), round(self._rate * (warm + seconds))
        while done < every:
            due = min(every, 1 + int(self._rate * (now() - began)))
            for number in range(done, due):
                self._send(began + number / self._rate, counted=number >= counted_from)
            done = due
            await asyncio.sleep(TICK)

    def _send(self, due_at: float, *, counted: bool) -> None:
        if now() - due_at > BEHIND:
            self._missed += counted
            return
        connection = self._next()
        if connection is None:
            self._held_back += counted
            return
        self._sent += counted
        self._waiting += 1
        self._most_waiting = max(self._most_waiting, self._waiting)
        connection.ask(counted=counted)
        if self._clients == "anew":
            self._open_soon(connection)
        else:
            connection.send(self._request)

    def _next(self) -> Connection | None:
        """Whose turn it is, if there is anybody who does not wait."""
        if self._clients == "anew":
            return Connection(self) if self._waiting < self._limit else None
        if not self._free:
            return None
        return self._free.pop() if self._clients == "again" else self._free.popleft()

    async def _last_answers(self) -> int:
        """How many requests are not answered even after LATE, the last of them having had all of it."""
        until = now() + LATE
        while self._waiting and now() < until:  # noqa: ASYNC110 — a load that is ending hurries nobody
            await asyncio.sleep(0.01)
        return self._waiting

    def opened(self, connection: Connection) -> None:
        self._open.add(connection)
        if connection.busy:
            connection.send(self._request)
        else:
            self._free.append(connection)

    def answered(self, connection: Connection, status: int) -> None:
        came_at = now()
        self._waiting -= 1
        if self._clients == "anew":
            connection.close()
        else:
            self._free.append(connection)
        self._answers[status] += self._counts_from <= came_at < self._counts_until
        if connection.counted:
            self._times.setdefault(status, []).append(came_at - connection.sent_at)

    def lost(self, connection: Connection) -> None:
        """The server closed it, as it may one that rests; its client opens another."""
        self._open.discard(connection)
        if self._over:
            return
        if connection.busy:
            self._waiting -= 1
            self._lost += 1
        elif self._clients != "anew":
            self._free.remove(connection)
        if self._clients != "anew":
            self._open_soon(Connection(self))

    def _open_soon(self, connection: Connection) -> None:
        task = asyncio.ensure_future(self._try_to_open(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _try_to_open(self, connection: Connection) -> None:
        try:
            await self._connect(connection)
        except OSError:
            self._lost += 1
            self._waiting -= connection.busy

    def _result(self, seconds: float) -> dict[str, Any]:
        """Rates are of what was due, or came, while it counted; times are of what was due then, whenever answered."""
        return {
            "sent_per_second": self._sent / seconds,
            "held_back_per_second": self._held_back / seconds,
            "missed_per_second": self._missed / seconds,
            "answered_per_second": {status: count / seconds for status, count in self._answers.items()},
            "p50_ms": {status: 1000 * statistics.median(times) for status, times in self._times.items()},
            "p99_ms": {status: 1000 * percentile(times, 0.99) for status, times in self._times.items()},
            "lost": self._lost,
            "most_waiting": self._most_waiting,
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
    """The smallest of the values that this share of them does not exceed (NumPy's inverted_cdf)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def allow_many_files() -> None:
    """As many at once as this process may allow itself and what it starts: each connection is one."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--request", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm", type=float, default=1.0, help="seconds before that, not counted")
    parser.add_argument("--limit", type=int, default=4096, help="connections")
    parser.add_argument(
        "--clients", choices=get_args(Clients), default="in turn", help="who is the next to ask"
    )
    options = parser.parse_args()
    allow_many_files()
    load = OpenLoop(
        options.port, options.request.read_bytes(), options.rate, limit=options.limit, clients=options.clients
    )
    try:
        print(json.dumps(run(load.run(options.seconds, options.warm))))
    except BenchmarkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
