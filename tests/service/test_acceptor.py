"""A busy loop takes everybody who waits to be connected, and leaves nobody when it stops."""

import asyncio
import errno
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.service.options import uvicorns_options

acceptor = pytest.importorskip("service.acceptor", reason="uvloop is not there")
CLIENTS = 100


class Connection(asyncio.Protocol):
    """As uvicorn's: it can be told to stop."""

    made: list["Connection"]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.stopped = False
        self.made.append(self)

    def shutdown(self) -> None:
        self.stopped = True
        self.transport.close()


@pytest.fixture
def made() -> list[Connection]:
    """The connections, as they are made."""
    Connection.made = []
    return Connection.made


def with_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=acceptor.Loop) as runner:
        runner.run(work())


@asynccontextmanager
async def listening(made: list[Connection]) -> AsyncIterator[Any]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=CLIENTS)
    try:
        yield server
    finally:
        server.close()
        for connection in made:
            connection.shutdown()


def connect(stack: ExitStack, server: Any, clients: int = CLIENTS) -> list[socket.socket]:
    """Before the loop has a turn to take them."""
    address = server.sockets[0].getsockname()
    return [stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(clients)]


def test_all_who_wait_are_connected_in_a_few_turns(made: list[Connection]) -> None:
    async def work() -> None:
        async with listening(made) as server:
            with ExitStack() as stack:
                connect(stack, server)
                turns = 0
                while len(made) < CLIENTS:
                    await asyncio.sleep(0)
                    turns += 1
                assert turns < CLIENTS / 5
                for _ in range(5):
                    await asyncio.sleep(0)
                assert not server._coming  # nothing is kept of those who are there
                assert not any(connection.stopped for connection in made)
                for connection in made:
                    taken: socket.socket = connection.transport.get_extra_info("socket")
                    assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    with_loop(work)


def test_who_waits_as_the_server_closes_is_taken_and_told_to_stop(
    made: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with listening(made) as server:
            with ExitStack() as stack:
                clients = connect(stack, server)
                listeners = list(server._listeners)
                remove, removed = server._loop.remove_reader, list[socket.socket]()

                def removing(one: socket.socket) -> None:
                    removed.append(one)
                    remove(one)

                monkeypatch.setattr(server._loop, "remove_reader", removing)
                server.close()
                assert made == []
                assert removed == listeners
                ends = [await asyncio.to_thread(client.recv, 1) for client in clients]
        assert ends == [b""] * CLIENTS  # and no reset
        assert [connection.stopped for connection in made] == [True] * CLIENTS

    with_loop(work)


@pytest.mark.parametrize("error", [ConnectionAbortedError, RuntimeError])
def test_a_connection_that_cannot_be_made_is_closed(
    made: list[Connection], monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    async def fails(*_: Any) -> None:
        raise error

    async def work() -> None:
        async with listening(made) as server:
            monkeypatch.setattr(asyncio.get_running_loop(), "connect_accepted_socket", fails)
            with ExitStack() as stack:
                [client] = connect(stack, server, 1)
                server._accept(server._listeners[0])
                assert await asyncio.to_thread(client.recv, 1) == b""

    with_loop(work)
    assert made == []


@pytest.mark.parametrize(
    ("number", "warnings"), [(errno.EMFILE, 2), (errno.ENFILE, 2), (errno.ECONNABORTED, 0)]
)
def test_it_is_told_now_and_then_that_there_are_no_files_for_connections(
    made: list[Connection], caplog: pytest.LogCaptureFixture, number: int, warnings: int
) -> None:
    class Failing:
        def accept(self) -> None:
            raise OSError(number, os.strerror(number))

    async def work() -> None:
        async with listening(made) as server:
            for _ in range(2):
                for _ in range(2):
                    server._accept(Failing())
                server._warned -= acceptor.SELDOM

    with_loop(work)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == warnings
    assert all(os.strerror(number) in one for one in told)


def test_encrypted_connections_are_left_to_uvloop() -> None:
    async def work() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, ssl=context)
        server.close()
        assert not isinstance(server, acceptor.EagerServer)

    with_loop(work)


@pytest.mark.parametrize(
    ("workers", "platform", "loop"),
    [
        ("1", "linux", "service.acceptor:Loop"),
        ("2", "linux", "service.acceptor:Loop"),
        ("1", "darwin", "service.acceptor:Loop"),
        ("2", "darwin", "auto"),  # workers share a socket there
    ],
)
def test_a_loop_takes_all_connections_where_none_of_them_is_anothers(
    monkeypatch: pytest.MonkeyPatch, workers: str, platform: str, loop: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("CONVSCOPE_WORKERS", workers)
    assert uvicorns_options(monkeypatch)["loop"] == loop


def test_a_port_on_which_somebody_else_listens_is_told() -> None:
    async def work() -> None:
        with socket.socket() as ours, socket.socket() as theirs:
            for one in (ours, theirs):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(ours.getsockname() if one is theirs else ("127.0.0.1", 0))
            theirs.listen()
            with pytest.raises(OSError, match="in use"):
                await asyncio.get_running_loop().create_server(Connection, sock=ours)

    with_loop(work)
