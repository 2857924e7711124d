"""uvicorn's HTTP protocol, which takes requests about one image past the application: see `service.gate`.

What it overrides is not uvicorn's public interface. Where that has changed, or httptools is not there, the service
does without: the application answers the same, only slower.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Literal, cast

from fastapi import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from service.gate import Gate
    from service.routes.direct import DirectRoute

ENOUGH = 32  # refusals in one period of a flood
AT_ONCE = 0.02  # seconds after which a client who rested and asks again had not waited to be heard
LONG_REST = 0.1  # seconds; it delays whatever else comes over the same connection


class Flood:
    """Bounds what refusals may take: after some of them, each connection is heard once a period only.

    A period is a turn of the loop or, where a model has more to do than that, the time of a small run of it. Clients
    that ask again as soon as they are refused would take the time of those who are answered; and uvloop, which
    goes on asking for sockets to read from while there are many, up to 48 times a turn, would not end its turn for a
    second. Who has rested and is there again at once, to be refused again, is heard more seldom still.
    """

    def __init__(self) -> None:
        self._refusals = 0
        self._resting: list[Callable[[], None]] = []

    def is_enough(self, loop: asyncio.AbstractEventLoop, period: float) -> bool:
        """Counts one more; the first of a period says how many seconds it lasts."""
        if not self._refusals:
            loop.call_later(period, self._end)
        self._refusals += 1
        return self._refusals > ENOUGH

    def rest(self, resume: Callable[[], None]) -> None:
        """Calls `resume` when the period is over."""
        self._resting.append(resume)

    def _end(self) -> None:
        self._refusals = 0
        resting, self._resting = self._resting, []
        for resume in resting:
            resume()


try:
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
except ImportError:  # an interpreter without httptools

    def http_protocol() -> type[Any] | Literal["auto"]:
        return "auto"

else:

    class GatedProtocol(HttpToolsProtocol):
        """One connection."""

        flood = Flood()  # of all connections

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._gate: Gate | None = getattr(getattr(self.app, "state", None), "gate", None)
            self._heard_again = -inf
            """when its last rest was over, on the loop's clock"""

        def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
            gate, scope = self._gate, cast("Scope", cycle.scope)
            found = None if gate is None or app is not self.app else gate.find(scope)
            # Who waits to be told to go on (Expect) may send the body or not after a refusal: not a case to hurry.
            if gate is None or found is None or cycle.waiting_for_100_continue:
                super()._start_asgi_task(cycle, app)
                return
            if gate.admit(*found, scope, partial(self._refuse, cycle)):
                task = self.loop.create_task(self._answer(cycle, gate, found))
                task.add_done_callback(self.tasks.discard)
                self.tasks.add(task)

        def _refuse(self, cycle: RequestResponseCycle, refusal: Response, rest: float) -> None:
            if cycle.disconnected:
                return
            self._send(cycle, refusal)
            if not cycle.keep_alive:
                return
            if self.loop.time() - self._heard_again < AT_ONCE:
                self.flow.pause_reading()
                self.loop.call_later(LONG_REST, self._read_on)
            elif self.flood.is_enough(self.loop, rest):
                self.flow.pause_reading()
                self.flood.rest(self._read_on)

        def _read_on(self) -> None:
            if not self.transport.is_closing():
                self._heard_again = self.loop.time()
                self.flow.resume_reading()

        async def _answer(
            self, cycle: RequestResponseCycle, gate: "Gate", found: "tuple[DirectRoute, str]"
        ) -> None:
            if cycle.response_complete:  # it was let in, and then refused for others that came later
                return
            response = await gate.answer(*found, cast("Scope", cycle.scope), cast("Receive", cycle.receive))
            if self.flow.write_paused and not cycle.disconnected:
                await self.flow.drain()
            if response is not None and not cycle.disconnected:
                self._send(cycle, response)

        def _send(self, cycle: RequestResponseCycle, response: Response) -> None:
            """In one piece. What is still to come of the request's body is read and dropped."""
            content = [STATUS_LINE[response.status_code]]
            for headers in (self.server_state.default_headers, response.raw_headers):
                content += [b"%b: %b\r\n" % header for header in headers]
            if not cycle.keep_alive:
                content.append(b"connection: close\r\n")
            self.transport.write(b"".join((*content, b"\r\n", response.body)))
            cycle.response_started = cycle.response_complete = True
            cycle.message_event.set()
            if not cycle.keep_alive:
                self.transport.close()
            self.on_response_complete()

    def http_protocol() -> type[Any] | Literal["auto"]:
        """For uvicorn's `http`."""
        return GatedProtocol if hasattr(HttpToolsProtocol, "_start_asgi_task") else "auto"
