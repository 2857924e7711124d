"""uvicorn's HTTP protocol, which takes requests about one image past the application: see `service.gate`.

What it overrides is not uvicorn's public interface. Where that has changed, or httptools is not there, the service
does without: the application answers the same, only slower.
"""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Literal, cast

from fastapi import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from service.gate import Gate

try:
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
except ImportError:  # an interpreter without httptools

    def http_protocol() -> type[Any] | Literal["auto"]:
        return "auto"

else:

    class GatedProtocol(HttpToolsProtocol):
        """One connection."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._gate: Gate | None = getattr(getattr(self.app, "state", None), "gate", None)

        def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
            gate, scope = self._gate, cast("Scope", cycle.scope)
            found = None if gate is None or app is not self.app else gate.find(scope)
            # Who waits to be told to go on (Expect) may send the body or not after a refusal: not a case to hurry.
            if gate is None or found is None or cycle.waiting_for_100_continue:
                super()._start_asgi_task(cycle, app)
                return
            refusal = gate.refusal(*found, scope)
            if refusal is not None:
                self._send(cycle, refusal)
                return
            receive = cast("Receive", cycle.receive)
            task = self.loop.create_task(self._answer(cycle, gate.answer(*found, scope, receive)))
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

        async def _answer(self, cycle: RequestResponseCycle, answer: Awaitable[Response | None]) -> None:
            response = await answer
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
