"""How long a connection may stay silent: uvicorn's keep-alive, and what it leaves out."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

READ = 0.001  # seconds, in which a loop that had no time before reads what is there


class PatientProtocol(HttpToolsProtocol):
    """One connection. It is closed when nothing came of it for `timeout_keep_alive` seconds while it was the client's
    turn: before its first request and within one as well, or who vanished half-way would stay for ever. Who is slow
    to read its answers is waited for."""

    within = False
    """a message that is not there as a whole yet"""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.wait_for_client()

    def on_message_begin(self) -> None:
        self.within = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self.within = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The next request, whose turn it is then, may have come in part only."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self.wait_for_client()

    def wait_for_client(self) -> None:
        """Unless it is waited for, or waits itself."""
        answered = self.cycle is None or self.cycle.response_complete
        if self.timeout_keep_alive_task is None and (answered or self.within):
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """A loop that was busy has not read what came meanwhile, and a connection with something unread is reset when
        it is closed: the request would be lost. So it is closed only after another look."""
        self.timeout_keep_alive_task = self.loop.call_later(READ, self._leave)

    def _leave(self) -> None:
        self.timeout_keep_alive_task = None
        if self.flow.read_paused:  # by the service: what the client says meanwhile is not heard
            self.wait_for_client()
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_keepalive_if_required()  # or the timer would keep the connection's memory
        super().connection_lost(exc)
