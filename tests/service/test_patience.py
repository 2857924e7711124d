"""A connection is closed when its client has been silent for too long, and for nothing else."""

import asyncio
import logging
import socket
import struct
import sys
from typing import Any

import pytest

from service.patience import PatientProtocol, _unread
from tests.service.held import PATIENCE
from tests.service.options import uvicorns_options
from tests.service.test_overload import URL
from tests.service.test_protocol import Full, answer, full, request

__all__ = ["full"]  # the fixture


def only(served: Full) -> Any:
    """The connection of the one client."""
    [connection] = served.server.server_state.connections
    assert isinstance(connection, PatientProtocol)
    return connection


async def test_what_comes_while_the_loop_is_busy_is_heard_before_its_connection_is_closed(full: Full) -> None:
    reader, writer = await full.connect()
    for _ in range(2):
        writer.write(request())
        assert (await answer(reader))[0] == 503
        # Time is up in the turn of the loop in which the request comes: it is in the socket, and nobody has read it.
        client: socket.socket = writer.get_extra_info("socket")
        connection = only(full)
        with socket.socket(fileno=socket.dup(client.fileno())) as same:
            same.send(request())
        connection.timeout_keep_alive_handler()
        assert (await answer(reader))[0] == 503
    writer.close()


async def test_a_client_that_says_nothing_more_is_left(full: Full) -> None:
    reader, writer = await full.connect()
    writer.write(request())
    assert (await answer(reader))[0] == 503
    only(full).timeout_keep_alive_handler()
    assert await reader.read() == b""
    writer.close()


async def test_a_client_that_has_read_everything_gets_no_more_time(full: Full) -> None:
    reader, writer = await full.connect()
    writer.write(request())
    assert (await answer(reader))[0] == 503
    connection = only(full)
    while _unread(connection.transport):  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    connection._leave()
    assert connection.transport.is_closing()
    writer.close()


async def test_a_client_that_never_says_anything_is_left(full: Full) -> None:
    full.server.config.timeout_keep_alive = 0
    reader, writer = await full.connect()
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("cut", [20, -5])  # within the head; within the body
async def test_a_client_that_vanishes_within_a_request_is_left_and_its_request_with_it(
    full: Full, cut: int
) -> None:
    await full.make_room()
    reader, writer = await full.connect()
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: service\r\n\r\n")
    assert (await answer(reader))[0] == 200
    only(full).timeout_keep_alive = 0
    writer.write(request()[:cut])
    assert await reader.read() == b""
    while full.server.server_state.tasks:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    writer.close()


@pytest.mark.parametrize("cut", [20, -5])  # within the head; within the body
async def test_a_client_that_vanishes_within_its_next_request_is_left_after_the_answer(
    full: Full, cut: int
) -> None:
    reader, writer = await full.connect()
    await full.hold(writer)
    connection = only(full)
    writer.write(request()[:cut])
    while not connection.within:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    assert connection.timeout_keep_alive_task is None
    connection.timeout_keep_alive = 0
    full.engine.go.set()
    assert (await answer(reader))[0] == 200
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    ("url", "status"), [(URL, 503), ("/predict/nobody", 404)]
)  # by the gate; the application
async def test_a_client_that_wants_the_connection_closed_is_heard_out_before(
    full: Full, url: str, status: int
) -> None:
    """Or it would be reset, and a client that sends all it has before it reads would not get the answer."""
    reader, writer = await full.connect()
    asked = request("Connection: close").replace(URL.encode(), url.encode())
    writer.write(asked[:-5])
    answered, headers, _ = await answer(reader)
    assert (answered, headers["connection"]) == (status, "close")
    connection = only(full)
    assert not connection.transport.is_closing()
    assert connection.timeout_keep_alive_task is not None
    writer.write(asked[-5:])
    while connection.within:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    assert connection.transport.is_closing()
    assert await reader.read() == b""
    writer.close()


async def test_a_client_that_waits_for_its_answer_is_not_left(full: Full) -> None:
    reader, writer = await full.connect()
    await full.hold(writer)
    assert only(full).timeout_keep_alive_task is None
    full.engine.go.set()
    assert (await answer(reader))[0] == 200
    writer.close()


async def test_a_client_to_whom_the_service_does_not_listen_is_not_left(
    full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer, connection = await full.cut_off(monkeypatch)
    connection._leave()
    assert not connection.transport.is_closing()
    assert connection.timeout_keep_alive_task is not None
    connection.data_received(request()[-5:])
    assert (await answer(reader))[0] == 200
    writer.close()


async def test_nobody_waits_for_a_client_whose_connection_broke(full: Full) -> None:
    _, writer = await full.connect()
    while not full.server.server_state.connections:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    connection = only(full)
    assert connection.timeout_keep_alive_task is not None
    client: socket.socket = writer.get_extra_info("socket")
    # A reset instead of an end.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    while full.server.server_state.connections:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert connection.timeout_keep_alive_task is None


class Timers:
    """A connection's loop, and when it was to call one of the connection's methods later."""

    def __init__(self, connection: Any, method: str) -> None:
        self._loop, self._method = connection.loop, method
        self.handles: list[asyncio.TimerHandle] = []
        self.delays: list[float] = []
        connection.loop = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay: float, callback: Any, *arguments: Any) -> asyncio.TimerHandle:
        handle: asyncio.TimerHandle = self._loop.call_later(delay, callback, *arguments)
        if callback.__name__ == self._method:
            self.handles.append(handle)
            self.delays.append(delay)
        return handle


BUFFER = 4096  # bytes that a socket may keep of what is to be sent, or read, so that the rest stays with the service


async def connect_reluctantly(full: Full, kept: int = BUFFER) -> socket.socket:
    """A client whose answers stay with the service if it does not read them, but for so many bytes."""
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, full.server.servers[0].sockets[0].getsockname())
    while not full.server.server_state.connections:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    served: socket.socket = only(full).transport.get_extra_info("socket")
    served.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, kept)
    return client


async def until_unread(connection: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not connection.transport.get_write_buffer_size():  # noqa: ASYNC110 — nobody is told of it
            await asyncio.sleep(0)


async def everything(client: socket.socket) -> bytes:
    loop, pieces = asyncio.get_running_loop(), list[bytes]()
    async with asyncio.timeout(PATIENCE):
        while piece := await loop.sock_recv(client, 1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


def ask(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: service", *headers, "", ""]).encode()


SMALL, LARGE = "/problems", "/openapi.json"
FEW = 20  # small answers: more than sockets of that size keep, and less than a transport says is enough


async def nobody_is_served(full: Full) -> None:
    state = full.server.server_state
    async with asyncio.timeout(PATIENCE):
        while state.connections or state.tasks:  # noqa: ASYNC110 — nobody is told of it
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "asks",
    [ask(SMALL) * FEW, ask(SMALL) * FEW + ask(SMALL, "Connection: close"), ask(LARGE), ask(LARGE) * FEW],
    ids=["small", "last", "large", "many"],
)
async def test_a_client_that_never_reads_is_left_and_its_answers_with_it(full: Full, asks: bytes) -> None:
    with await connect_reluctantly(full) as client:
        connection = only(full)
        connection.timeout_keep_alive = 0
        await asyncio.get_running_loop().sock_sendall(client, asks)
        await until_unread(connection)
        await nobody_is_served(full)
        assert connection._reads is None
        # Not an end, for which the system would keep what is unread.
        with pytest.raises(ConnectionResetError):
            await everything(client)


async def test_a_client_that_never_reads_is_left_after_nonsense_too(full: Full) -> None:
    loop = asyncio.get_running_loop()
    with await connect_reluctantly(full) as client:
        connection = only(full)
        await loop.sock_sendall(client, ask(SMALL) * FEW)
        while not (connection.cycle and connection.cycle.response_complete and not connection.pipeline):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await until_unread(connection)
        connection.timeout_keep_alive = 0
        await loop.sock_sendall(client, b"\0garbage\r\n\r\n")
        await nobody_is_served(full)


async def test_a_client_that_never_reads_is_left_after_it_was_heard_out_too(full: Full) -> None:
    """Its last answer was sent before its request was there as a whole."""
    loop, asked = asyncio.get_running_loop(), request("Connection: close")
    with await connect_reluctantly(full) as client:
        connection = only(full)
        await loop.sock_sendall(client, ask(SMALL) * FEW + asked[:-5])
        async with asyncio.timeout(PATIENCE):
            while not connection._closes:  # noqa: ASYNC110 — nobody is told of it
                await asyncio.sleep(0)
        await until_unread(connection)
        await loop.sock_sendall(client, asked[-5:])
        async with asyncio.timeout(PATIENCE):
            while not connection.transport.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert connection._reads is not None
        connection._look_for_reader(_unread(connection.transport))
        await nobody_is_served(full)


async def test_a_client_that_never_reads_is_left_without_a_word_when_the_server_stops(
    full: Full, caplog: pytest.LogCaptureFixture
) -> None:
    with await connect_reluctantly(full) as client:
        connection = only(full)
        await asyncio.get_running_loop().sock_sendall(client, 2 * ask(LARGE))
        await until_unread(connection)
        while connection.pipeline:  # noqa: ASYNC110 — nobody is told of it
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # the second answer waits for the first to be read
        [waiting] = full.server.server_state.tasks
        waiting.cancel()  # as uvicorn does
        await nobody_is_served(full)
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_a_client_that_still_reads_may_ask_for_more(full: Full) -> None:
    loop = asyncio.get_running_loop()
    with await connect_reluctantly(full) as client:
        connection = only(full)
        await loop.sock_sendall(client, ask(LARGE))
        await until_unread(connection)
        connection._leave()
        answered = await loop.sock_recv(client, BUFFER)
        await loop.sock_sendall(client, ask(LARGE, "Connection: close"))
        answered += await everything(client)
        head, rest = answered.split(b"\r\n\r\n", 1)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert len(rest) > 2 * length


async def test_a_client_that_reads_no_more_is_left(full: Full) -> None:
    loop = asyncio.get_running_loop()
    with await connect_reluctantly(full) as client:
        connection = only(full)
        await loop.sock_sendall(client, ask(LARGE, "Connection: close"))
        await until_unread(connection)
        connection.timeout_keep_alive = 0
        while connection.flow.write_paused:
            await loop.sock_recv(client, BUFFER)
        await nobody_is_served(full)


async def test_a_client_that_reads_slowly_is_waited_for(full: Full) -> None:
    with await connect_reluctantly(full) as client:
        connection = only(full)
        await asyncio.get_running_loop().sock_sendall(client, ask(LARGE, "Connection: close"))
        await until_unread(connection)
        head = b""
        for _ in range(3):
            unread = connection.transport.get_write_buffer_size()
            while connection.transport.get_write_buffer_size() == unread:
                head += await asyncio.get_running_loop().sock_recv(client, BUFFER)
            connection._do_not_wait_for_reader()
            connection._look_for_reader(unread)
            assert connection._reads is not None
        answered = head + await everything(client)
        head, body = answered.split(b"\r\n\r\n", 1)
        assert b"content-length: %d\r\n" % len(body) in head + b"\r\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a system does not tell what it keeps")
async def test_a_client_that_reads_only_what_the_system_keeps_is_waited_for(full: Full) -> None:
    loop = asyncio.get_running_loop()
    with await connect_reluctantly(full, kept=1 << 20) as client:
        connection = only(full)
        await loop.sock_sendall(client, ask(LARGE) * 100)
        await until_unread(connection)
        unread, with_service = _unread(connection.transport), connection.transport.get_write_buffer_size()
        while _unread(connection.transport) == unread:
            await loop.sock_recv(client, BUFFER)
        assert connection.transport.get_write_buffer_size() == with_service
        connection._do_not_wait_for_reader()
        connection._look_for_reader(unread)
        assert connection._reads is not None


async def test_for_a_client_that_reads_one_wait_ends_before_another_begins(full: Full) -> None:
    """Of two, or after the last, one would go on until an answer of the same size is to be read."""
    with await connect_reluctantly(full) as client:
        connection = only(full)
        timers = Timers(connection, "_look_for_reader")
        await asyncio.get_running_loop().sock_sendall(client, ask(LARGE, "Connection: close"))
        while not connection.transport.is_closing():  # noqa: ASYNC110 — nobody is told of it
            await asyncio.sleep(0)
        [whole] = timers.handles
        assert timers.delays == [connection.timeout_keep_alive]
        while connection.flow.write_paused:
            await asyncio.get_running_loop().sock_recv(client, BUFFER)
        [_, rest] = timers.handles
        assert (whole.cancelled(), rest.cancelled()) == (True, False)
        await everything(client)
        await nobody_is_served(full)
        assert rest.cancelled()


async def test_an_answer_that_goes_out_at_once_begins_one_wait_and_not_two(full: Full) -> None:
    """Of two, one would go on while the client is heard."""
    reader, writer = await full.connect()
    writer.write(request())
    assert (await answer(reader))[0] == 503
    connection = only(full)
    timers = Timers(connection, "timeout_keep_alive_handler")
    for _ in range(2):
        writer.write(request())
        assert (await answer(reader))[0] == 503
    assert [handle.cancelled() for handle in timers.handles] == [True, False]
    assert timers.delays == [connection.timeout_keep_alive] * 2
    writer.close()


async def test_who_says_nothing_more_is_looked_at_in_time_and_once_more_a_moment_later(full: Full) -> None:
    reader, writer = await full.connect()
    writer.write(request())
    assert (await answer(reader))[0] == 503
    connection = only(full)
    timers, looks = Timers(connection, "timeout_keep_alive_handler"), Timers(connection, "_leave")
    writer.write(request()[:20])
    while not timers.delays:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    assert timers.delays == [connection.timeout_keep_alive]
    connection.timeout_keep_alive_handler()
    assert looks.delays == [0.001]
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(("said", "seconds"), [("", 75), ("7", 7)])
def test_connections_are_kept_for_as_long_as_the_settings_say(
    monkeypatch: pytest.MonkeyPatch, said: str, seconds: int
) -> None:
    monkeypatch.setenv("CONVSCOPE_KEEP_ALIVE", said)
    assert uvicorns_options(monkeypatch)["timeout_keep_alive"] == seconds
