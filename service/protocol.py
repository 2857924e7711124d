"""uvicorn's HTTP protocol, which takes predictions past the application: see `service.gate`.

What it overrides is not uvicorn's public interface. Where that has changed, or httptools is not there, the service
does without: the application answers the same, only slower.
"""

from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, Literal, cast
from weakref import ref

from fastapi import Response

from service.errors import PROBLEM_JSON, HeadTooLong, NotHttp, Problem
from service.flood import is_whole, request_line
from service.metrics import NO_ROUTE, OTHER_METHOD

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Receive, Scope

    from service.flood import Refusal
    from service.gate import Gate
    from service.metrics import Metrics
    from service.short_way import HotRoute

AT_ONCE = 0.02  # seconds after which a client who rested and asks again had not waited to be heard
OFTEN = 4  # rests in a row after which it was no moment's delay that brought so many requests together
LONG_REST = 0.1  # seconds; it delays whatever else comes over the same connection
NO_REQUEST = "what came is no HTTP request, or its length is not certain"
CLOSE = b"connection: close\r\n"
LINGER = 1.0  # seconds, in which the client reads that no more is heard of it
LAST_WORD = 0.05  # seconds for which a server that stops still hears who is connected


def _nothing() -> None:
    pass


try:
    from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
    from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

    from service.bounds import BoundedProtocol
    from service.patience import READ
except ImportError:  # an interpreter without httptools

    def http_protocol() -> type[Any] | Literal["auto"]:
        return "auto"

else:

    class GatedProtocol(BoundedProtocol):
        """One connection."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            state = getattr(self.app, "state", None)
            self._gate: Gate | None = getattr(state, "gate", None)
            self._metrics: Metrics | None = getattr(getattr(state, "service", None), "metrics", None)
            self._held: bytes | None = None
            """a whole request that waits on the porch"""
            self._heard_again = -inf
            """when its last rest was over, on the loop's clock"""
            self._rests = 0
            """in a row, after each of which it asked again at once"""
            self._resting = self._stopping = False
            self._last_word: Problem | None = None
            """of what came last, which is no request, when those before it are answered"""
            self._deaf = False
            """since then: the body of what is no request would be taken for that of another"""
            self._answered: RequestResponseCycle | None = None
            """the latest request whose answer was begun; more may wait behind it"""

        def data_received(self, data: bytes) -> None:
            if self._deaf:
                return
            if self._held is not None:  # a client that does not wait for its answer
                data, self._held = self._held + data, None
            elif self._gate is not None and self._gate.turns_away and self._may_hold(data, self._gate):
                self._unset_keepalive_if_required()
                self._held = data
                rested = self._asks_again_at_once()
                self._gate.porch.hold(request_line(data), self, self.loop, rested=rested)
                return
            self._parse(data)

        def _parse(self, data: bytes) -> None:
            """As uvicorn's `data_received`, but an upgrade to another protocol is declined as RFC 9110, section 7.8,
            has it: the request is answered as if nobody had asked.

            Of such a request the parser takes the body for that other protocol. So its head is parsed once more,
            without the field, and what follows it as any other. Nobody is connected to another host.
            """
            self._unset_keepalive_if_required()
            pieces: list[bytes | memoryview] = [data]
            while pieces:
                piece = pieces.pop()
                try:
                    self.feed(piece)
                except HttpParserUpgrade as upgrade:
                    if self.parser.get_method() == b"CONNECT":
                        self.cycle.keep_alive = False
                        break
                    pieces += [memoryview(piece)[upgrade.args[0] :], self._head_without_upgrade()]
                    self.parser = _parser(self)  # the other one reads no more if the connection was to close
                except (HttpParserError, HeadTooLong) as error:
                    reason = error if isinstance(error, HeadTooLong) else error.__context__
                    self._end(reason if isinstance(reason, HeadTooLong) else NotHttp(NO_REQUEST))
                    return
            self.wait_for_client()

        def _end(self, problem: Problem) -> None:
            """What came before is answered before."""
            self._deaf = True
            self.logger.warning(problem.detail)
            if self.pipeline and self.cycle.more_body:  # of the message itself, whose turn never comes
                self.pipeline.popleft()
                self.cycle = (
                    self.pipeline[0][0] if self.pipeline else cast("RequestResponseCycle", self._answered)
                )
            cycle = self.cycle
            if cycle is not None and cycle.scope is self.scope and cycle.response_started:
                # The message has its answer, or some of it: another would be taken for a part of it, or for the next.
                self._hang_up()
            elif cycle is None or cycle.response_complete or cycle.more_body:
                self._say(problem)
            else:
                self._last_word = problem
                self.flow.pause_reading()

        def _say(self, problem: Problem) -> None:
            """And nothing more. Who is still sending would not get it from a connection that is closed at once."""
            self._last_word = None
            if self._metrics is not None:
                self._metrics.request(NO_ROUTE, OTHER_METHOD, problem.status, 0.0)
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected, self.cycle.waiting_for_100_continue = True, False
                self.cycle.message_event.set()
            body = problem.body().model_dump_json(exclude_none=True)
            response = Response(body, problem.status, media_type=PROBLEM_JSON)
            self.transport.write(self._as_bytes(response, CLOSE))
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.flow.resume_reading()
            self.loop.call_later(min(LINGER, self.timeout_keep_alive), self._hang_up)

        def _hang_up(self) -> None:
            self.transport.close()
            self.wait_for_reader()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self._last_word and self.cycle.response_complete and not self.transport.is_closing():
                self._say(self._last_word)

        def _head_without_upgrade(self) -> bytes:
            method, version = self.parser.get_method(), self.parser.get_http_version().encode()
            fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
            return b"".join((b"%b %b HTTP/%b\r\n" % (method, self.url, version), *fields, b"\r\n"))

        def on_headers_complete(self) -> None:
            if not self._is_upgrade():
                super().on_headers_complete()

        def _is_upgrade(self) -> bool:
            return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

        def _may_hold(self, data: bytes, gate: "Gate") -> bool:
            idle = not self.within and (self.cycle is None or self.cycle.response_complete)
            return (
                idle
                and not self._stopping
                and not self.flow.write_paused
                and request_line(data) in gate.turns_away
                and is_whole(data)
            )

        def waits(self) -> bool:
            return self._held is not None and not self.transport.is_closing()

        def take(self) -> None:
            data, self._held = cast("bytes", self._held), None
            self._parse(data)

        def refuse(self, refusal: "Refusal") -> None:
            self._held = None
            if refusal.written is None:
                refusal.written = self._as_bytes(refusal.response)
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

        def on_message_complete(self) -> None:
            if not self._is_upgrade():
                super().on_message_complete()

        def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
            gate, scope, self._answered = self._gate, cast("Scope", cycle.scope), cycle
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
                self._resting = True
                self.flow.pause_reading()
                self.loop.call_later(LONG_REST, self._read_on)
            elif gate.rests.is_enough(self.loop, period):
                self._rests += 1
                self._resting = True
                self.flow.pause_reading()
                gate.rests.rest(self._read_on)

        def _asks_again_at_once(self) -> bool:
            return self.loop.time() - self._heard_again < AT_ONCE

        def _read_on(self) -> None:
            self._resting = False
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
            for cycle in (self._answered, *(waiting for waiting, _ in self.pipeline)):
                if cycle is not None and not cycle.response_complete:
                    cycle.disconnected = True
                    cycle.message_event.set()
            # As of those that are answered, or they and this would keep each other.
            for waiting, _ in self.pipeline:
                waiting.on_response = _nothing
            self._answered = None
            super().connection_lost(exc)

        async def _answer(
            self, cycle: RequestResponseCycle, gate: "Gate", found: "tuple[HotRoute, str]"
        ) -> None:
            response = await gate.answer(*found, cast("Scope", cycle.scope), cast("Receive", cycle.receive))
            if self.flow.write_paused and not cycle.disconnected:
                await self.flow.drain()
            if response is not None and not cycle.disconnected:
                self._send(cycle, response)

        def _send(self, cycle: RequestResponseCycle, response: Response) -> None:
            """In one piece. What is still to come of the request's body is read and dropped."""
            more_headers = b"" if cycle.keep_alive else CLOSE
            self.transport.write(self._as_bytes(response, more_headers))
            cycle.response_started = cycle.response_complete = True
            cycle.message_event.set()
            if not cycle.keep_alive:
                cycle.transport.close()
            self.on_response_complete()

        def _as_bytes(self, response: Response, more_headers: bytes = b"") -> bytes:
            headers = (*self.server_state.default_headers, *response.raw_headers)
            lines = [b"%b: %b\r\n" % header for header in headers]
            status = STATUS_LINE[response.status_code]
            return b"".join((status, *lines, more_headers, b"\r\n", response.body))

    class ClosedWhenHeard:
        """A connection's transport as the cycle of its last request uses it. With something unread it would be reset,
        and a client that first sends all it has would not get the answer that says that it was too much."""

        def __init__(self, protocol: BoundedProtocol, cycle: RequestResponseCycle) -> None:
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

    def _parser(protocol: HttpToolsProtocol) -> HttpRequestParser:
        """As uvicorn has it: what comes after a request that closes the connection is ignored."""
        parser = HttpRequestParser(protocol)
        with suppress(AttributeError):  # an older httptools
            parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def http_protocol() -> type[Any] | Literal["auto"]:
        """For uvicorn's `http`."""
        return GatedProtocol if hasattr(HttpToolsProtocol, "_start_asgi_task") else "auto"
