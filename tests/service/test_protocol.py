"""A full queue refuses over real sockets as the application would, and the connection goes on."""

import asyncio
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from math import isfinite
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service import flood, gated_protocol, protocol
from service.app import create_app
from service.protocol import http_protocol
from service.settings import Settings
from tests.service.held import PATIENCE, HeldEngine, waiting
from tests.service.stripes import encoded, stripe
from tests.service.test_load import flood as refuse_many
from tests.service.test_overload import URL, client_of

IMAGE = encoded(stripe(5))


def request(*headers: str, body: bytes = IMAGE) -> bytes:
    lines = [f"POST {URL} HTTP/1.1", "Host: service", "Content-Type: image/png", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def answer(reader: StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[uvicorn.Server]:
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, http=http_protocol(), proxy_headers=False)
    )
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 — uvicorn tells nobody when it has started
        await asyncio.sleep(0)
    yield server
    server.should_exit = True
    await running


class Full:
    """A service whose one engine is busy and whose queue of one is taken."""

    def __init__(self, app: FastAPI, server: uvicorn.Server, engine: HeldEngine) -> None:
        self.app, self.server, self.engine = app, server, engine

    async def connect(self) -> tuple[StreamReader, StreamWriter]:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return await asyncio.open_connection("127.0.0.1", port)

    async def hold(self, writer: StreamWriter) -> None:
        """Makes room for a request of this client, and returns when the engine has it, until it may go."""
        await self.make_room()
        self.engine.busy.clear()
        self.engine.go.clear()
        writer.write(request())
        await self.engine.until_busy()

    async def cut_off(self, monkeypatch: pytest.MonkeyPatch) -> tuple[StreamReader, StreamWriter, Any]:
        """A client, and its connection, from which no more is read: of its second request the end is to come."""
        monkeypatch.setattr(gated_protocol, "HIGH_WATER_LIMIT", 10)
        await self.make_room()
        reader, writer = await self.connect()
        writer.write(request())
        assert (await answer(reader))[0] == 200
        connection: Any = next(iter(self.server.server_state.connections))
        connection.data_received(request()[:-5])
        assert connection.flow.read_paused
        return reader, writer, connection

    async def make_room(self) -> None:
        """The engine finishes what it has, and holds no run any more."""
        self.engine.go.set()
        async with asyncio.timeout(PATIENCE):
            while self.app.state.service.store.snapshot.find("mnist")._batcher.busy:  # noqa: ASYNC110 — tells nobody
                await asyncio.sleep(0)

    async def count(self, status: int, route: str = "/predict/{model}", method: str = "POST") -> int:
        async with client_of(self.app) as client:
            lines = (await client.get("/metrics")).text.splitlines()
        series = f'convscope_requests_total{{route="{route}",method="{method}",status="{status}"}}'
        return sum(int(line.split()[1]) for line in lines if line.startswith(series))


@pytest.fixture
async def full(artifacts: Path) -> AsyncIterator[Full]:
    app = create_app(Settings(artifacts=artifacts, inline_run=0, max_queue_rows=1, max_batch_rows=1))
    async with served(app) as server, client_of(app) as client:
        with HeldEngine(app) as engine:
            first = asyncio.create_task(client.post(URL, content=IMAGE))
            await engine.until_busy()
            second = asyncio.create_task(client.post(URL, content=IMAGE))
            await waiting(app, 1)
            yield Full(app, server, engine)
        await asyncio.gather(first, second)


async def test_it_refuses_as_the_application_would(full: Full) -> None:
    async with client_of(full.app) as client:
        expected = await client.post(URL, content=IMAGE)
    reader, writer = await full.connect()
    writer.write(request())
    status, headers, body = await answer(reader)
    writer.close()
    assert (status, body) == (503, expected.content)
    assert {name: headers[name] for name in expected.headers} == dict(expected.headers)
    assert "date" in headers
    assert await full.count(503) == 2


def chunked(sizes: list[int]) -> bytes:
    """The same request with a body in so many pieces: of these sizes, and the rest."""
    pieces, rest = [], IMAGE
    for size in [*sizes, len(IMAGE)]:
        piece, rest = rest[:size], rest[size:]
        pieces.append(b"%x\r\n%b\r\n" % (len(piece), piece))
    head = f"POST {URL} HTTP/1.1\r\nHost: service\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    return b"".join((head.encode(), *pieces, b"0\r\n\r\n"))


@pytest.mark.parametrize("sizes", [[], [1], [20, 30]])
@pytest.mark.parametrize("limit", [10, 1_000_000])  # bytes of a body for which a client is told to wait
async def test_a_body_may_come_in_pieces(
    full: Full, sizes: list[int], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gated_protocol, "HIGH_WATER_LIMIT", limit)
    await full.make_room()
    reader, writer = await full.connect()
    writer.write(request())
    expected = await answer(reader)
    assert expected[0] == 200
    for data in (chunked(sizes), request()):
        writer.write(data)
        assert await answer(reader) == expected
    for at in (200, -50, -1):  # each in two reads
        writer.write(request()[:at])
        await writer.drain()
        writer.write(request()[at:])
        assert await answer(reader) == expected
    writer.close()


async def test_what_comes_of_a_body_is_added_without_copying_what_came_before(full: Full) -> None:
    """In a hundred thousand pieces that would be the square of it."""
    await full.make_room()
    reader, writer = await full.connect()
    writer.write(request())
    assert (await answer(reader))[0] == 200
    connection: Any = next(iter(full.server.server_state.connections))
    for piece in (request()[:-50], request()[-50:-20]):  # in one turn: nobody has taken the first
        connection.data_received(piece)
    assert isinstance(connection.cycle.body, bytearray)
    connection.data_received(request()[-20:])
    assert (await answer(reader))[0] == 200
    writer.close()


TENSOR = b"\0" * (28 * 28 * 2)
MANY = [
    ("/predict/mnist/batch?top_k=1", "image/png", IMAGE),
    ("/predict/mnist/batch", "image/png", b"no image"),
    ("/predict/nobody/batch", "image/png", IMAGE),
    ("/v2/models/mnist/infer", "application/octet-stream", TENSOR),
    ("/v2/models/mnist/infer", "application/octet-stream", TENSOR[:-1]),
    ("/v2/models/nobody/infer", "application/octet-stream", TENSOR),
]


@pytest.mark.parametrize(("path", "content_type", "body"), MANY)
async def test_many_images_are_answered_as_the_application_would(
    full: Full, path: str, content_type: str, body: bytes
) -> None:
    await full.make_room()
    headers = {"Content-Type": content_type}
    if path.startswith("/v2"):
        headers["Inference-Header-Content-Length"] = "0"
    async with client_of(full.app) as client:
        expected = await client.post(path, content=body, headers=headers)
    lines = [f"POST {path} HTTP/1.1", "Host: service", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    reader, writer = await full.connect()
    for _ in range(2):
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        status, found, answered = await answer(reader)
        assert (status, answered) == (expected.status_code, expected.content)
        assert {name: found[name] for name in expected.headers} == dict(expected.headers)
    writer.close()


async def test_a_batch_is_refused_by_its_endpoint_and_counted_there(full: Full) -> None:
    before = await full.count(503)
    reader, writer = await full.connect()
    writer.write(request().replace(b"/predict/mnist?preprocess=none", b"/predict/mnist/batch"))
    assert (await answer(reader))[0] == 503
    assert await full.count(503) == before
    async with client_of(full.app) as client:
        assert (
            'route="/predict/{model}/batch",method="POST",status="503"} 1'
            in (await client.get("/metrics")).text
        )
    writer.close()


async def test_the_connection_goes_on_after_a_refusal(full: Full) -> None:
    reader, writer = await full.connect()
    for piece in (
        request()[:-50],
        request()[-50:],
        request(),
        request(),
    ):  # the first body comes in two pieces
        writer.write(piece)
        await writer.drain()
    assert [(await answer(reader))[0] for _ in range(3)] == [503] * 3
    await full.make_room()
    writer.write(request())
    assert (await answer(reader))[0] == 200
    writer.close()


async def test_a_flood_of_refusals_ends_with_the_loops_turn_and_every_request_is_answered(
    full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flood, "ENOUGH", 2)
    connections = [await full.connect() for _ in range(5)]
    for _ in range(3):
        for _, writer in connections:
            writer.write(request())
        assert [(await answer(reader))[0] for reader, _ in connections] == [503] * 5
    for _, writer in connections:
        writer.close()


LONG = 0.0123  # seconds, which nothing else takes


@pytest.mark.parametrize(
    ("at_once", "expected"),
    [(3600.0, [*[0] * gated_protocol.OFTEN, 1, 2]), (0.0, [0] * (gated_protocol.OFTEN + 2))],
)
async def test_who_has_often_rested_rests_longer_if_asking_again_at_once_and_is_answered(
    full: Full, monkeypatch: pytest.MonkeyPatch, at_once: float, expected: list[int]
) -> None:
    loop = asyncio.get_running_loop()
    rests: list[float] = []
    call_later = loop.call_later

    def noted(delay: float, *call: Any) -> asyncio.TimerHandle:
        rests.append(delay)
        return call_later(delay, *call)

    monkeypatch.setattr(loop, "call_later", noted)
    monkeypatch.setattr(gated_protocol, "AT_ONCE", at_once)
    monkeypatch.setattr(flood, "ENOUGH", 0)
    monkeypatch.setattr(gated_protocol, "LONG_REST", LONG)
    reader, writer = await full.connect()
    for long_rests in expected:
        writer.write(request())
        assert (await answer(reader))[0] == 503
        assert rests.count(LONG) == long_rests
    await full.make_room()
    writer.write(request())
    assert (await answer(reader))[0] == 200
    writer.close()


class Parsed:
    """Counts what the parser is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests = 0
        gated: Any = http_protocol()
        parse = gated._parse

        def counted(connection: HttpToolsProtocol, data: bytes) -> None:
            self.requests += 1
            parse(connection, data)

        monkeypatch.setattr(gated, "_parse", counted)


def overload(app: FastAPI) -> None:
    """Of the model, which takes a hundredth of a second for a row."""
    load = app.state.service.store.snapshot.find("mnist")._batcher.load
    load.learn(rows=10_000, seconds=100.0)
    refuse_many(load, until=asyncio.get_running_loop().time())


async def test_an_overloaded_model_refuses_unread_what_is_like_what_it_refused(
    full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    overload(full.app)
    parsed, before = Parsed(monkeypatch), await full.count(503)
    reader, writer = await full.connect()
    answers = []
    for _ in range(3):
        writer.write(request())
        answers.append(await answer(reader))
    assert answers[0] == answers[1] == answers[2]
    assert (answers[0][0], parsed.requests, await full.count(503) - before) == (503, 1, 3)
    # One that is not there as a whole is parsed, like what comes after it, even if that looks like a whole one.
    writer.write(request(body=IMAGE + request())[: -len(request())])
    assert (await answer(reader))[0] == 503
    [connection] = full.server.server_state.connections
    connection.data_received(request())  # each by itself
    connection.data_received(request().replace(b"mnist", b"nobody"))
    assert (await answer(reader))[0] == 404
    writer.close()


async def test_who_is_refused_unread_counts_rests_and_is_not_waited_for_for_ever(
    full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flood, "ENOUGH", 2)
    overload(full.app)
    load = full.app.state.service.store.snapshot.find("mnist")._batcher.load
    connections = [await full.connect() for _ in range(9)]
    for reader, writer in connections[:1]:  # what is like this one is known from now on
        writer.write(request())
        await answer(reader)
    came, before = load._came, await full.count(503)
    protocols: list[Any] = list(full.server.server_state.connections)
    protocols = [one for one in protocols if one.cycle is None]
    for one in protocols:
        one.data_received(request())
    assert [one.timeout_keep_alive_task is not None for one in protocols] == [True] * 8
    assert [one.flow.read_paused for one in protocols].count(True) > 4
    assert [(await answer(reader))[0] for reader, _ in connections[1:]] == [503] * 8
    assert (load._came - came, await full.count(503) - before) == (8, 8)
    for _, writer in connections:
        writer.close()


async def test_who_has_left_before_the_turn_ends_is_neither_refused_nor_let_in(full: Full) -> None:
    overload(full.app)
    reader, writer = await full.connect()
    writer.write(request())
    assert (await answer(reader))[0] == 503
    [connection] = full.server.server_state.connections
    await full.make_room()
    counts = [await full.count(status) for status in (200, 503)]
    connection.data_received(request())
    connection.transport.abort()
    await asyncio.sleep(0)
    assert not full.server.server_state.tasks
    assert [await full.count(status) for status in (200, 503)] == counts
    writer.close()


async def test_of_those_that_come_together_an_overloaded_model_takes_the_latest(full: Full) -> None:
    overload(full.app)
    connections = [await full.connect() for _ in range(4)]
    reader, writer = connections[0]
    writer.write(request())
    assert (await answer(reader))[0] == 503
    await full.make_room()
    for _, writer in connections:
        writer.write(request())
    assert [(await answer(reader))[0] for reader, _ in connections] == [503, 503, 503, 200]
    for _, writer in connections:
        writer.close()


async def test_of_those_an_overloaded_model_takes_who_was_heard_all_the_time_before_who_was_not(
    full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was not may have waited for longer than anybody who is answered should."""
    monkeypatch.setattr(gated_protocol, "AT_ONCE", 3600.0)
    monkeypatch.setattr(flood, "ENOUGH", 0)
    overload(full.app)
    rested_reader, rested_writer = await full.connect()
    rested_writer.write(request())
    assert (await answer(rested_reader))[0] == 503
    [connection] = full.server.server_state.connections
    while not isfinite(connection._heard_again):  # type: ignore[union-attr]  # noqa: ASYNC110 — tells nobody
        await asyncio.sleep(0)
    reader, writer = await full.connect()
    await full.make_room()
    for one in (writer, rested_writer):
        one.write(request())
    assert ((await answer(reader))[0], (await answer(rested_reader))[0]) == (200, 503)
    writer.close()
    rested_writer.close()


async def test_who_sends_more_before_being_answered_is_answered_in_order(full: Full) -> None:
    overload(full.app)
    reader, writer = await full.connect()
    writer.write(request())
    assert (await answer(reader))[0] == 503
    await full.make_room()
    [connection] = full.server.server_state.connections
    connection.data_received(request())
    connection.data_received(request().replace(b"mnist", b"nobody"))  # before the turn is over
    assert [(await answer(reader))[0] for _ in range(2)] == [200, 404]
    writer.close()


async def test_more_than_a_thousand_at_once_are_refused_one_after_the_other(full: Full) -> None:
    count = sys.getrecursionlimit() + 200
    reader, writer = await full.connect()
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: service\r\n\r\n" + request() * count)
    assert (await answer(reader))[0] == 200
    assert {(await answer(reader))[0] for _ in range(count)} == {503}
    await full.make_room()
    writer.write(request())
    assert (await answer(reader))[0] == 200
    writer.close()


async def test_none_of_those_that_a_client_sent_before_it_left_is_run(full: Full) -> None:
    await full.make_room()
    full.engine.rows = 0
    reader, writer = await full.connect()
    await full.hold(writer)
    leaver, leaving = await full.connect()
    leaving.write(request() * 3)
    await waiting(full.app, 1)
    leaving.transport.abort()
    while len(full.server.server_state.connections) > 1:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    full.engine.go.set()
    assert (await answer(reader))[0] == 200
    writer.write(request())
    assert (await answer(reader))[0] == 200
    assert full.engine.rows == 2
    assert await full.count(499) == 1
    writer.close()
    with suppress(ConnectionError):
        assert await leaver.read() == b""


UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")


@pytest.mark.parametrize("cuts", [[], [10], [120], [-120], [-9], [60, 200, -30]])
async def test_who_would_rather_speak_http_2_is_answered_as_if_it_had_not_said_so(
    full: Full, cuts: list[int]
) -> None:
    await full.make_room()
    reader, writer = await full.connect()
    writer.write(request())
    expected = await answer(reader)
    data = request(*UPGRADE)
    edges = [0, *(cut % len(data) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        writer.write(data[start:end])
        await writer.drain()
        await asyncio.sleep(0)
    writer.write(request() + request("Connection: close, Upgrade", "Upgrade: websocket"))
    answers = [await answer(reader) for _ in range(3)]
    assert [one[0] for one in answers] == [200] * 3
    assert {one[2] for one in answers} == {expected[2]}
    assert await reader.read() == b""
    writer.close()


async def test_thousands_who_would_rather_speak_http_2_are_answered_in_order(full: Full) -> None:
    count = sys.getrecursionlimit() + 200
    one = "GET /health/live HTTP/1.1\r\nHost: service\r\n" + "".join(f"{line}\r\n" for line in UPGRADE)
    reader, writer = await full.connect()
    writer.write(f"{one}\r\n".encode() * count)
    for _ in range(count):
        assert (await answer(reader))[0] == 200
    writer.close()


@pytest.mark.parametrize("line", ["CONNECT service:1", "GET http:///", "POST x://"])
async def test_an_upgrade_of_what_is_no_request_is_refused(full: Full, line: str) -> None:
    reader, writer = await full.connect()
    writer.write("\r\n".join([f"{line} HTTP/1.1", "Host: service", *UPGRADE, "", ""]).encode())
    assert (await answer(reader))[0] == 400
    assert await reader.read() == b""
    writer.close()


async def test_a_head_request_leaves_the_connection_as_it_was(full: Full) -> None:
    reader, writer = await full.connect()
    for path, status in (("/health/live", 200), ("/nothing", 404)):
        writer.write(f"HEAD {path} HTTP/1.1\r\nHost: service\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert int(head.split()[1]) == status
        assert b"content-length: 0" not in head
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: service\r\n\r\n")
        assert (await answer(reader))[2] == b'{"status":"ok"}'
    writer.close()


async def test_a_server_that_stops_answers_what_came_while_a_connection_rested(
    full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flood, "ENOUGH", 0)
    monkeypatch.setattr(flood.Rests, "rest", lambda *_: None)  # for ever
    overload(full.app)
    reader, writer = await full.connect()
    writer.write(request())
    assert (await answer(reader))[0] == 503
    writer.write(request())
    [connection] = full.server.server_state.connections
    connection.shutdown()
    status, headers, _ = await answer(reader)
    assert (status, headers["connection"], await reader.read()) == (503, "close", b"")
    writer.close()


async def test_a_server_that_stops_answers_whom_it_has_no_time_left_for(full: Full) -> None:
    connections = [await full.connect() for _ in range(2)]
    (_, held), (_, reading) = connections
    # An error, but not while it reads.
    reading.write(request().replace(URL.encode(), b"/v2/models/mnist/infer")[:-9])
    await full.hold(held)
    while len(full.server.server_state.tasks) < 2:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    for task in list(full.server.server_state.tasks):
        task.cancel()  # as uvicorn does
    for reader, writer in connections:
        status, _, body = await answer(reader)
        assert (status, b"the service is stopping" in body) == (503, True)
        writer.close()


async def test_of_a_long_body_no_more_is_read_than_its_endpoint_takes(
    full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer, connection = await full.cut_off(monkeypatch)
    connection.data_received(request()[-5:])
    assert (await answer(reader))[0] == 200
    assert not connection.flow.read_paused
    writer.close()


async def test_an_answer_waits_for_a_client_that_does_not_read(full: Full) -> None:
    await full.make_room()
    reader, writer = await full.connect()
    writer.write(request())
    assert (await answer(reader))[0] == 200
    connection: Any = next(iter(full.server.server_state.connections))
    connection.data_received(request())
    connection.flow.pause_writing()  # as the transport does when its buffer is full
    [task] = full.server.server_state.tasks
    model = full.app.state.service.store.snapshot.find("mnist")
    while model._batcher.busy or model.waiting_rows:  # noqa: ASYNC110 — tells nobody
        await asyncio.sleep(0)
    await asyncio.wait({task}, timeout=0.01)
    assert not task.done()
    connection.flow.resume_writing()
    assert (await answer(reader))[0] == 200
    writer.close()


@pytest.mark.parametrize("overloaded", [False, True])
async def test_who_does_not_read_the_refusals_is_not_read_from(full: Full, overloaded: bool) -> None:
    if overloaded:
        overload(full.app)
    reader, writer = await full.connect()
    writer.write(request())
    assert (await answer(reader))[0] == 503
    connection: Any = next(iter(full.server.server_state.connections))
    connection.flow.pause_writing()  # as the transport does when its buffer is full
    for _ in range(3):
        connection.data_received(request())  # each by itself
    while not connection.flow.read_paused:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    connection.flow.resume_writing()
    assert [(await answer(reader))[0] for _ in range(3)] == [503] * 3
    writer.close()


async def test_who_wants_the_connection_closed_has_it_closed(full: Full) -> None:
    reader, writer = await full.connect()
    writer.write(request("Connection: close"))
    status, headers, _ = await answer(reader)
    assert (status, headers["connection"], await reader.read()) == (503, "close", b"")
    writer.close()


async def test_who_waits_to_be_told_to_go_on_is_refused_instead(full: Full) -> None:
    reader, writer = await full.connect()
    writer.write(request("Expect: 100-continue"))
    assert (await answer(reader))[0] == 503
    writer.close()


async def test_a_version_and_other_models_are_the_applications_own(full: Full) -> None:
    reader, writer = await full.connect()
    writer.write(request().replace(URL.encode(), b"/predict/nobody"))
    assert (await answer(reader))[0] == 404
    writer.write(request().replace(URL.encode(), URL.encode() + b"&version=1"))
    assert (await answer(reader))[0] == 503
    writer.close()


@pytest.mark.parametrize("settings", [{"access_log": True}, {"cors_origins": ["*"]}])
def test_there_is_no_gate_where_middleware_adds_to_a_refusal(
    artifacts: Path, settings: dict[str, object]
) -> None:
    app = create_app(Settings.model_validate({"artifacts": artifacts, **settings}))
    assert not hasattr(app.state, "gate")


EVERY_NAME = [(place, name) for place, names in protocol.USED.items() for name in names]


@pytest.mark.parametrize(("place", "name"), EVERY_NAME, ids=[".".join(one) for one in EVERY_NAME])
def test_where_uvicorn_has_it_otherwise_the_service_does_without_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str, name: str
) -> None:
    owner: Any = resolve_name(f"uvicorn.protocols.http.{place}")
    if hasattr(owner, name):
        monkeypatch.delattr(owner, name)
    else:  # what its objects get when they are made
        code = owner.__init__.__code__
        names = tuple("renamed" if one == name else one for one in code.co_names)
        monkeypatch.setattr(owner.__init__, "__code__", code.replace(co_names=names))
    assert http_protocol() == "auto"
    assert f"this uvicorn has no {place}.{name}" in caplog.text


def test_as_it_is_uvicorn_has_all_that_is_used(caplog: pytest.LogCaptureFixture) -> None:
    assert http_protocol() is gated_protocol.GatedProtocol
    assert caplog.text == ""


def test_without_httptools_the_service_does_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "httptools", None)
    assert http_protocol() == "auto"
    assert caplog.text == ""  # it was not asked for


def test_where_a_module_of_uvicorns_is_gone_it_does_without_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr("uvicorn.protocols.http.flow_control")
    monkeypatch.setitem(sys.modules, "uvicorn.protocols.http.flow_control", None)
    assert http_protocol() == "auto"
    assert "this uvicorn has no flow_control" in caplog.text


def test_a_failure_of_the_services_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("bounds", "parsing", "gated_protocol"):
        monkeypatch.delitem(sys.modules, f"service.{module}")
    monkeypatch.setitem(sys.modules, "service.bounds", None)
    with pytest.raises(ImportError, match=r"service\.bounds"):
        http_protocol()


@pytest.mark.parametrize("asks", [1, 3])
async def test_what_came_before_nonsense_is_answered_before_it(full: Full, asks: int) -> None:
    reader, writer = await full.connect()
    await full.hold(writer)
    writer.write(request() * (asks - 1) + b"\0garbage\r\n\r\n")
    connection: Any = next(iter(full.server.server_state.connections))
    while connection._last_word is None:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    full.engine.go.set()
    for _ in range(asks):
        assert (await answer(reader))[0] == 200
    assert b"HTTP/1.1 400 " in await reader.read()
    assert await full.count(400, "(none)", "(other)") == 1
    writer.close()


async def test_nonsense_in_place_of_a_body_is_told_at_once(full: Full) -> None:
    await full.make_room()
    reader, writer = await full.connect()
    writer.write(chunked([5])[: -len(b"0\r\n\r\n") - 30] + b"nonsense\r\n" * 5)
    assert b"HTTP/1.1 400 " in await reader.read()
    writer.close()


async def test_nonsense_in_place_of_a_body_is_told_after_the_answer_to_what_came_before(full: Full) -> None:
    await full.make_room()
    reader, writer = await full.connect()
    head, *_ = chunked([]).partition(b"\r\n\r\n")
    writer.write(request() + head + b"\r\n\r\n5\r\nhello\r\nZZZ\r\n")
    assert [(await answer(reader))[0] for _ in range(2)] == [200, 400]
    assert await reader.read() == b""
    writer.close()
