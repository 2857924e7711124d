"""How long a connection may stay silent: uvicorn's keep-alive, and what it leaves out."""

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

READ = 0.001  # seconds, in which a loop that had no time before reads what is there


class PatientProtocol(HttpToolsProtocol):
    """One connection. It is closed when nothing came of it for `timeout_keep_alive` seconds while it was the client's
    turn: before its first request and within one as well, or who vanished half-way would stay for ever. Who reads its
    answers is waited for; who takes nothing of them in that time is not. Of slow readers the system hears only when
    they have read a good part of what it keeps for them: with usual buffers one of some hundred bytes a second may
    seem to take nothing."""

    within = False
    """a message that is not there as a whole yet"""
    in_head = False
    """of which not even the head is"""
    _closes = False
    """when that message is there: its answer, the last one, was begun before"""
    _reads: asyncio.TimerHandle | None = None
    """while nothing more can be sent before the client reads"""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.wait_for_client()

    def on_message_begin(self) -> None:
        self.within = self.in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.within = False
        super().on_message_complete()
        if self._closes:
            self.transport.close()
            self.wait_for_reader()

    def on_response_complete(self) -> None:
        """The next request, whose turn it is then, may have come in part only."""
        super().on_response_complete()
        if self.transport.is_closing():
            self.wait_for_reader()
        else:
            self.wait_for_client()

    def wait_for_client(self, unread: float = inf) -> None:
        """Unless it is waited for, or waits itself."""
        answered = self.cycle is None or self.cycle.response_complete
        # The cycle is of this message, unless it is of one before.
        waits = self.within and not self.pipeline and not self.in_head
        if self.timeout_keep_alive_task is None and (answered or waits):
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler, unread
            )

    def timeout_keep_alive_handler(self, unread: float = inf) -> None:
        """A loop that was busy has not read what came meanwhile, and a connection with something unread is reset when
        it is closed: the request would be lost. So it is closed only after another look."""
        self.timeout_keep_alive_task = self.loop.call_later(READ, self._leave, unread)

    def _leave(self, unread_before: float = inf) -> None:
        """Who is still reading has nothing to say yet. It may before it is done, and the rest would be lost with it."""
        self.timeout_keep_alive_task = None
        unread = _unread(self.transport)
        if self.flow.read_paused:  # by the service: what the client says meanwhile is not heard
            self.wait_for_client()
        elif 0 < unread < unread_before:
            self.wait_for_client(unread)
        elif self.transport.get_write_buffer_size():
            self._abort()
        else:
            super().timeout_keep_alive_handler()

    def close_when_heard(self) -> None:
        """Of the message that is coming the answer was sent, and is the last."""
        self._closes = True

    def pause_writing(self) -> None:
        super().pause_writing()
        self.wait_for_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._do_not_wait_for_reader()
        if self.transport.is_closing():  # of what is left nobody tells
            self.wait_for_reader()

    def wait_for_reader(self) -> None:
        """Where nothing is added to what is unread: it grows smaller, or nobody reads."""
        if self.transport.get_write_buffer_size() and self._reads is None:
            self._reads = self.loop.call_later(
                self.timeout_keep_alive, self._look_for_reader, _unread(self.transport)
            )

    def _do_not_wait_for_reader(self) -> None:
        if self._reads is not None:
            self._reads.cancel()
            self._reads = None

    def _look_for_reader(self, unread: int) -> None:
        self._reads = None
        if _unread(self.transport) < unread:
            self.wait_for_reader()
        else:
            self._abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, partial(self._until_stopped, cycle, app))

    async def _until_stopped(
        self, cycle: RequestResponseCycle, app: Any, scope: "Scope", receive: "Receive", send: "Send"
    ) -> None:
        """A server that stops, and has waited for as long as it may, cancels what waits for somebody to read. That is
        no failure of the application, which would be told with all its frames for each."""
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            cycle.disconnected = True
            self._abort()

    def _abort(self) -> None:
        """What is unread would hold a connection that is only closed, and the system's memory for minutes after."""
        with suppress(OSError):
            at_once = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_keepalive_if_required()  # or the timers would keep the connection's memory
        self._do_not_wait_for_reader()
        super().connection_lost(exc)


def _unread(transport: asyncio.Transport) -> int:
    """Bytes that the client has not taken.

    The system keeps megabytes of them, and takes no more from the service before a third of those has gone: without
    them a client of ten kilobytes a second would seem to have stopped. Linux tells how many (tcp(7), SIOCOUTQ).
    """
    kept = b""
    with suppress(ImportError, OSError):
        from fcntl import ioctl  # noqa: PLC0415 — not everywhere
        from termios import TIOCOUTQ  # noqa: PLC0415

        kept = ioctl(transport.get_extra_info("socket").fileno(), TIOCOUTQ, bytes(4))
    return transport.get_write_buffer_size() + int.from_bytes(kept, sys.byteorder)
