"""A connection is closed when its client has been silent for too long, and for nothing else."""

import asyncio
import socket
import struct
from typing import Any

import pytest

from service.patience import PatientProtocol
from tests.service.options import uvicorns_options
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


async def test_a_client_that_vanishes_within_its_next_request_is_left_after_the_answer(full: Full) -> None:
    reader, writer = await full.connect()
    await full.hold(writer)
    writer.write(request()[:-5])
    connection = only(full)
    while not connection.pipeline:  # noqa: ASYNC110 — nobody is told of it
        await asyncio.sleep(0)
    connection.timeout_keep_alive = 0
    full.engine.go.set()
    assert (await answer(reader))[0] == 200
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
    """The loop, and how often it was to tell that a client is silent."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.handles: list[asyncio.TimerHandle] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay: float, callback: Any, *arguments: Any) -> asyncio.TimerHandle:
        handle = self._loop.call_later(delay, callback, *arguments)
        if callback.__name__ == "timeout_keep_alive_handler":
            self.handles.append(handle)
        return handle


async def test_an_answer_that_goes_out_at_once_begins_one_wait_and_not_two(full: Full) -> None:
    """Of two, one would go on while the client is heard."""
    reader, writer = await full.connect()
    writer.write(request())
    assert (await answer(reader))[0] == 503
    connection = only(full)
    connection.loop = timers = Timers(connection.loop)
    for _ in range(2):
        writer.write(request())
        assert (await answer(reader))[0] == 503
    assert [handle.cancelled() for handle in timers.handles] == [True, False]
    writer.close()


@pytest.mark.parametrize(("said", "seconds"), [("", 75), ("7", 7)])
def test_connections_are_kept_for_as_long_as_the_settings_say(
    monkeypatch: pytest.MonkeyPatch, said: str, seconds: int
) -> None:
    monkeypatch.setenv("CONVSCOPE_KEEP_ALIVE", said)
    assert uvicorns_options(monkeypatch)["timeout_keep_alive"] == seconds
