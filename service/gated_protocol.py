"""uvicorn's HTTP protocol, which takes predictions past the application: see `service.gate`.

What it and its bases override and use is not uvicorn's public interface: `service.protocol` looks whether it is there.
"""

from math import inf
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

from fastapi import Response
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.flood import Refusal, is_whole, request_line
from service.parsing import CLOSE, ParsingProtocol
from service.patience import READ

if TYPE_CHECKING:  # a process that only starts others needs no NumPy
    import asyncio

    from starlette.types import Receive, Scope

    from service.gate import Gate
    from service.short_way import HotRoute

AT_ONCE = 0.02  # seconds after which a client who rested and asks again had not waited to be heard
OFTEN = 4  # rests in a row after which it was no moment's delay that brought so many requests together
LONG_REST = 0.1  # seconds; it delays whatever else comes over the same connection
LAST_WORD = 0.05  # seconds for which a server that stops still hears who is connected


def _nothing() -> None:
    pass


class GatedProtocol(ParsingProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._gate: Gate | None = getattr(getattr(self.app, "state", None), "gate", None)
        self._held: bytes | None = None
        """a whole request that waits on the porch"""
        self._heard_again = -inf
        """when its last rest was over, on the loop's clock"""
        self._rests = 0
        """in a row, after each of which it asked again at once"""
        self._stopping = False

    def data_received(self, data: bytes) -> None:
        if self._held is not None:  # a client that does not wait for its answer
            data, self._held = self._held + data, None
        elif self._gate is not None and self._gate.turns_away and self._may_hold(data, self._gate):
            self._unset_keepalive_if_required()
            self._held = data
            rested = self._asks_again_at_once()
            self._gate.porch.hold(request_line(data), self, self.loop, rested=rested)
            return
        super().data_received(data)

    def _may_hold(self, data: bytes, gate: "Gate") -> bool:
        return (
            self.idle
            and not self._stopping
            and not self.flow.write_paused
            and request_line(data) in gate.turns_away
            and is_whole(data)
        )

    def waits(self) -> bool:
        return self._held is not None and not self.transport.is_closing()

    def take(self) -> None:
        data, self._held = cast("bytes", self._held), None
        super().data_received(data)

    def refuse(self, refusal: Refusal) -> None:
        self._held = None
        if refusal.written is None:
            refusal.written = self.as_bytes(refusal.response)
        self.transport.write(refusal.written)
        self.on_response_complete()
        self._rest(cast("Gate", self._gate), refusal.rest)

    def on_body(self, body: bytes) -> None:
        """As uvicorn has it, but a body that comes in one piece is not copied twice: 64 small images as tensors are
        50 kB."""
        self.has_body, cycle = True, self.cycle
        if cycle.body or cycle.response_complete:
            if isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)
            super().on_body(body)
            return
        cycle.body = body  # type: ignore[assignment]
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        gate, scope, self.answered = self._gate, cast("Scope", cycle.scope), cycle
        cycle.keep_alive &= not self._stopping
        if not cycle.keep_alive:
            cycle.transport = cast("asyncio.Transport", ClosedWhenHeard(self, cycle))
        found = None if gate is None or app is not self.app else gate.find(scope)
        # For a client who does not read the application waits until it does, and no more is read from it. Of one
        # who has sent more already, refused here one after the other, each would be a call within the one before.
        if gate is None or found is None or self.flow.write_paused or self.pipeline:
            super()._start_asgi_task(cycle, app)
            return
        # For answers that the cycle sends, and this sends them itself. A method of the object that holds the cycle,
        # it would keep both, with what nobody read of the body, until the garbage collector comes by.
        cycle.on_response = _nothing
        refused = gate.admit(*found, scope)
        if refused is None:
            task = self.loop.create_task(self._answer(cycle, gate, found))
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)
        elif not cycle.disconnected:
            self._send(cycle, refused.response)
            if cycle.keep_alive:
                self._rest(gate, refused.rest)

    def _rest(self, gate: "Gate", period: float) -> None:
        """After a refusal, if there were many."""
        if self._stopping:
            return
        if not self._asks_again_at_once():
            self._rests = 0
        if self._rests >= OFTEN:
            self.flow.pause_reading()
            self.loop.call_later(LONG_REST, self._read_on)
        elif gate.rests.is_enough(self.loop, period):
            self._rests += 1
            self.flow.pause_reading()
            gate.rests.rest(self._read_on)

    def _asks_again_at_once(self) -> bool:
        return self.loop.time() - self._heard_again < AT_ONCE

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self._heard_again = self.loop.time()
            self.flow.resume_reading()

    def shutdown(self) -> None:
        """As uvicorn has it; but a connection with something unread is reset when it is closed, and the client
        would not even get what was sent before. So what has come by now is answered first."""
        self._stopping = True
        if self.cycle is None or self.cycle.response_complete:
            self._read_on()
            self.loop.call_later(LAST_WORD, self.loop.call_later, READ, super().shutdown)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """uvicorn tells the latest request that its client has left; those before it are told here."""
        for cycle in (self.answered, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        # As of those that are answered, or they and this would keep each other.
        for waiting, _ in self.pipeline:
            waiting.on_response = _nothing
        self.answered = None
        super().connection_lost(exc)

    async def _answer(self, cycle: RequestResponseCycle, gate: "Gate", found: "tuple[HotRoute, str]") -> None:
        response = await gate.answer(*found, cast("Scope", cycle.scope), cast("Receive", cycle.receive))
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        if response is not None and not cycle.disconnected:
            self._send(cycle, response)

    def _send(self, cycle: RequestResponseCycle, response: Response) -> None:
        """In one piece. What is still to come of the request's body is read and dropped."""
        more_headers = b"" if cycle.keep_alive else CLOSE
        self.transport.write(self.as_bytes(response, more_headers))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        self.on_response_complete()


class ClosedWhenHeard:
    """A connection's transport as the cycle of its last request uses it. With something unread it would be reset,
    and a client that first sends all it has would not get the answer that says that it was too much."""

    def __init__(self, protocol: ParsingProtocol, cycle: RequestResponseCycle) -> None:
        # Weak, or the cycle would keep itself until the garbage collector comes by.
        self._protocol, self._cycle = ref(protocol), ref(cycle)
        self.write, self.is_closing = protocol.transport.write, protocol.transport.is_closing

    def close(self) -> None:
        protocol, cycle = self._protocol(), self._cycle()
        if protocol is None or cycle is None:
            return
        if cycle.more_body:
            protocol.close_when_heard()
        else:
            protocol.transport.close()
