"""uvicorn's HTTP protocol, which asks the application's gate before it makes a task of a request.

What it overrides is not uvicorn's public interface. Where that has changed, or httptools is not there, the service
does without: the application refuses too, only later.
"""

from typing import Any, Literal

from service.gate import Gate, Refusal

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
            # Who waits to be told to go on (Expect) may send the body or not after a refusal: not a case to hurry.
            if self._gate is not None and not cycle.waiting_for_100_continue:
                refusal = self._gate.refusal(cycle.scope)
                if refusal is not None:
                    self._refuse(cycle, refusal)
                    return
            super()._start_asgi_task(cycle, app)

        def _refuse(self, cycle: RequestResponseCycle, refusal: Refusal) -> None:
            """Answers at once. What is still to come of the request's body is read and dropped."""
            headers = self.server_state.default_headers + refusal.headers
            lines = [b"%b: %b\r\n" % header for header in headers]
            if not cycle.keep_alive:
                lines.append(b"connection: close\r\n")
            self.transport.write(b"".join((STATUS_LINE[refusal.status], *lines, b"\r\n", refusal.body)))
            cycle.response_started = cycle.response_complete = True
            if not cycle.keep_alive:
                self.transport.close()
            self.on_response_complete()

    def http_protocol() -> type[Any] | Literal["auto"]:
        """For uvicorn's `http`."""
        return GatedProtocol if hasattr(HttpToolsProtocol, "_start_asgi_task") else "auto"
