"""uvloop's event loop, whose servers take the connections that wait and not one in a turn."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from math import inf
from typing import Any

import uvloop

AT_ONCE = 64
"""Connections that a turn takes: some milliseconds of it."""
BACKLOG = 100  # uvloop's own
AT_THE_END = 2048
"""Connections that are taken before nobody is any more: as many as uvicorn lets wait."""
SELDOM = 60.0
"""Seconds between two warnings of the same."""

log = logging.getLogger("convscope")

Factory = Callable[[], asyncio.BaseProtocol]


class Loop(uvloop.Loop):
    """libuv takes one connection a turn of the loop. While it is busy, and turns last for tens of milliseconds, clients
    that open a connection for each request would wait for seconds, and whoever asks whether the service is alive."""

    async def create_server(self, protocol_factory: Factory, *arguments: Any, **options: Any) -> Any:
        given = options.get("sock")
        if given is not None:  # uvloop would say nothing where somebody else listens there
            given.listen(options.get("backlog", BACKLOG))
        server = await super().create_server(protocol_factory, *arguments, **options)
        return server if options.get("ssl") else EagerServer(self, server, protocol_factory)


class EagerServer:
    """A server beside which its sockets are read: what it has left there is taken as well."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Any, protocol_factory: Factory) -> None:
        self._loop = loop
        self._server = server
        self._protocol_factory = protocol_factory
        self._listeners: list[socket.socket] = [one.dup() for one in server.sockets]
        self._coming: set[asyncio.Task[None]] = set()
        self._warned = -inf
        for one in self._listeners:
            one.setblocking(False)
            loop.add_reader(one, self._accept, one)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def _accept(self, listener: socket.socket) -> bool:
        """Whether more may wait."""
        for _ in range(AT_ONCE):
            try:
                connection, _ = listener.accept()
            except BlockingIOError:  # there is none any more
                return False
            except OSError as error:  # the server itself knows what to do
                self._warn(error)
                return False
            task = self._loop.create_task(self._take(connection))
            self._coming.add(task)
            task.add_done_callback(self._coming.discard)
        return True

    def _warn(self, error: OSError) -> None:
        """Of what the server does without a word: for want of files it resets whoever waits."""
        now = self._loop.time()
        if error.errno in (errno.EMFILE, errno.ENFILE) and now >= self._warned + SELDOM:
            self._warned = now
            log.warning("no connection can be accepted, those that come are reset: %s", error.strerror)

    async def _take(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            _, protocol = await self._loop.connect_accepted_socket(self._protocol_factory, connection)
        except OSError:  # its client has left
            connection.close()
            return
        except Exception:
            connection.close()
            raise
        if not self._listeners:  # uvicorn has told those that were there before
            uvicorns: Any = protocol
            uvicorns.shutdown()

    def close(self) -> None:
        """Takes who waits first: they would be reset, with what they have asked."""
        for one in self._listeners:
            self._loop.remove_reader(one)
            for _ in range(AT_THE_END // AT_ONCE):
                if not self._accept(one):
                    break
            one.close()
        self._listeners = []
        self._server.close()
