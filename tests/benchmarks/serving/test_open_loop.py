"""What an open loop sends, and what it says of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import pytest

from tests.benchmarks.serving import open_loop
from tests.benchmarks.serving.child import free_port
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import Request
from tests.benchmarks.serving.open_loop import Clients, OpenLoop

REQUEST = Request("/", b"x", "text/plain").raw()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
RATE = 200.0  # requests a second
WARM, SECONDS = 0.1, 0.2
ASKED = RATE * SECONDS


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine stood still, what was due meanwhile is sent."""
    monkeypatch.setattr(open_loop, "BEHIND", 60.0)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the machine stands still so does the load's clock."""
    last = time = open_loop.now()

    def now() -> float:
        nonlocal last, time
        since, last = last, perf_counter()
        time += min(last - since, 10 * open_loop.TICK)
        return time

    monkeypatch.setattr(open_loop, "now", now)


class Server(asyncio.Protocol):
    """Keeps what happens to all of its connections in `log`; `respond` is called for every request, from 1 on."""

    def __init__(self, log: list[str], respond: "Respond") -> None:
        self._log = log
        self._respond = respond
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._log.append("opened")
        self._number = self._log.count("opened")

    def connection_lost(self, _: Exception | None) -> None:
        self._log.append("left")
        self.lost.set_result(None)

    def data_received(self, _: bytes) -> None:
        self._log.append("asked")
        self._log.append(f"by {self._number}")
        self._respond(self._transport, self._log.count("asked"))


Respond = Callable[[asyncio.Transport, int], None]


@asynccontextmanager
async def serving(respond: Respond) -> AsyncIterator[tuple[int, list[str]]]:
    """A port, and the log of its server, which is whole afterwards: it is told of every client that leaves."""
    log: list[str] = []
    connections: list[Server] = []

    def connection() -> Server:
        connections.append(Server(log, respond))
        return connections[-1]

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], log
        async with asyncio.timeout(10):
            await asyncio.gather(*(each.lost for each in connections))


async def found(
    respond: Respond, *, limit: int = 64, clients: Clients = "in turn"
) -> tuple[dict[str, Any], list[str]]:
    async with serving(respond) as (port, log):
        return await OpenLoop(port, REQUEST, RATE, limit=limit, clients=clients).run(SECONDS, WARM), log


@pytest.mark.usefixtures("steady")
async def test_answers_that_come_before_it_counts_are_not_counted() -> None:
    """Requests are due for ten times as long, and all are answered at once: ten times the rate would be all of them."""
    async with serving(at_once) as (port, log):
        result = await OpenLoop(port, REQUEST, RATE, limit=64).run(0.05, warm=0.45)
    assert log.count("asked") > 0.3 * RATE
    assert 0 < result["answered_per_second"][200] < 3 * RATE


def test_the_times_told_are_the_median_and_the_99th_percentile() -> None:
    load = OpenLoop(1, REQUEST, RATE, limit=1)
    load._times = {200: [number / 1000 for number in range(1, 201)]}
    result = load._result(SECONDS)
    assert result["p50_ms"][200] == pytest.approx(100.5)
    assert result["p99_ms"][200] == pytest.approx(198)


def at_once(transport: asyncio.Transport, _: int) -> None:
    transport.write(ANSWER)


def asked(result: dict[str, Any]) -> float:
    rates: list[float] = [result[f"{what}_per_second"] for what in ("sent", "held_back", "missed")]
    return SECONDS * sum(rates)


async def test_every_request_of_the_counted_time_is_sent_where_all_are_answered() -> None:
    result, log = await found(at_once)
    assert asked(result) == pytest.approx(ASKED)
    assert result["held_back_per_second"] == result["unanswered"] == result["lost"] == 0
    assert log.count("asked") <= RATE * (WARM + SECONDS)


async def test_all_connections_are_open_before_the_first_request_is_due() -> None:
    _, log = await found(at_once)
    assert log.index("asked") == log.count("opened") == 64


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("clients", ["in turn", "again"])
async def test_clients_ask_in_turn_unless_those_answered_last_are_to_ask_again(clients: Clients) -> None:
    _, log = await found(at_once, limit=50, clients=clients)
    askers = [one for one in log if one.startswith("by ")]
    assert len(askers) >= 50
    # A burst is over several connections, and it is answered before the next.
    assert (len({*askers[:50]}) < 50) == (clients == "again")


async def test_clients_that_come_anew_ask_once_each_and_leave() -> None:
    result, log = await found(at_once, clients="anew")
    assert log[0] == "opened"
    assert log.count("opened") == log.count("asked") == log.count("left") > ASKED / 2
    assert {one for one in log if one.startswith("by ")} == {f"by {n + 1}" for n in range(log.count("asked"))}
    assert asked(result) == pytest.approx(ASKED)
    assert result["unanswered"] == result["lost"] == 0


async def test_of_clients_that_come_anew_no_more_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_loop, "LATE", 0.0)
    result, log = await found(lambda transport, number: None, limit=3, clients="anew")
    assert log.count("asked") == result["unanswered"] == result["most_waiting"] == 3
    assert result["held_back_per_second"] > 0


async def test_clients_that_come_anew_and_find_nobody_are_lost() -> None:
    load = OpenLoop(free_port(), REQUEST, RATE, limit=64, clients="anew")
    result = await load.run(SECONDS, WARM)
    assert result["lost"] > ASKED / 2
    assert result["unanswered"] == 0


async def test_clients_that_come_anew_wait_for_their_connection_as_well() -> None:
    """Nobody takes them for a while, as when a server's loop is busy."""
    delay = 0.1
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server([], at_once), "127.0.0.1", 0, start_serving=False)
    with server.sockets[0].dup() as listener:
        listener.listen(64)
        load = OpenLoop(server.sockets[0].getsockname()[1], REQUEST, RATE, limit=64, clients="anew")
        running = asyncio.create_task(load.run(SECONDS, 0.0))
        async with asyncio.timeout(10):
            while load._waiting < ASKED:  # noqa: ASYNC110 — a load tells nobody what it has sent
                await asyncio.sleep(0)
        loop.call_later(delay, lambda: loop.create_task(server.start_serving()))
        result = await running
    server.close()
    assert result["p50_ms"][200] >= 1000 * delay


async def test_requests_that_are_never_answered_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_loop, "LATE", 0.5)

    def every_second(transport: asyncio.Transport, number: int) -> None:
        if number % 2:
            transport.write(ANSWER)

    result, log = await found(every_second)
    assert result["unanswered"] == log.count("asked") // 2 > 0


async def test_what_was_sent_last_has_its_time_to_be_answered() -> None:
    """The first answer comes when the load is over."""
    delay = WARM + SECONDS + 0.1

    def later(transport: asyncio.Transport, _: int) -> None:
        asyncio.get_running_loop().call_later(delay, transport.write, ANSWER)

    result, _ = await found(later)
    assert result["unanswered"] == 0
    assert result["p50_ms"][200] >= 1000 * delay
    assert result["answered_per_second"] == {200: 0}


async def test_what_finds_every_connection_waiting_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_loop, "LATE", 0.0)
    result, log = await found(lambda transport, number: None, limit=3)
    assert log.count("asked") == result["unanswered"] == result["most_waiting"] == 3
    assert asked(result) == pytest.approx(ASKED)
    assert result["held_back_per_second"] > 0


async def test_what_the_load_itself_is_too_late_for_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_loop, "BEHIND", -1.0)
    result, log = await found(at_once)
    assert result["missed_per_second"] == pytest.approx(RATE)
    assert log.count("asked") == 0


@pytest.mark.usefixtures("steady")
async def test_a_connection_that_the_server_closes_is_lost_and_opened_again() -> None:
    def closing(transport: asyncio.Transport, number: int) -> None:
        if number == 1:
            transport.abort()
        else:
            transport.write(ANSWER)

    result, log = await found(closing, limit=1)
    assert result["lost"] == 1
    assert log.count("opened") == 2
    assert result["answered_per_second"][200] > 0


async def test_a_server_that_opens_no_connection_is_no_load() -> None:
    with pytest.raises(BenchmarkError, match="0 of 4 connections are open"):
        await OpenLoop(free_port(), REQUEST, RATE, limit=4).run(SECONDS, WARM)
