"""What comes over a connection, parsed: upgrades are declined, and what is no request is told so.

As in uvicorn's protocol but for that; what is used of it is not its public interface (see `service.protocol`).
"""

from contextlib import suppress
from typing import Any, cast

from fastapi import Response
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.bounds import BoundedProtocol
from service.errors import PROBLEM_JSON, HeadTooLong, NotHttp, Problem
from service.metrics import NO_ROUTE, OTHER_METHOD, Metrics

NO_REQUEST = "what came is no HTTP request, or its length is not certain"
CLOSE = b"connection: close\r\n"
LINGER = 1.0  # seconds, in which the client reads that no more is heard of it


class ParsingProtocol(BoundedProtocol):
    """One connection."""

    answered: RequestResponseCycle | None = None
    """the latest request whose answer was begun, to be set by whoever does; more may wait behind it"""
    _last_word: Problem | None = None
    """of what came last, which is no request, when those before it are answered"""
    _deaf = False
    """since then: the body of what is no request would be taken for that of another"""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        service = getattr(getattr(self.app, "state", None), "service", None)
        self._metrics: Metrics | None = getattr(service, "metrics", None)

    @property
    def idle(self) -> bool:
        """Whether what comes next begins a request, and nothing is answered."""
        return not (self._deaf or self.within) and (self.cycle is None or self.cycle.response_complete)

    def data_received(self, data: bytes) -> None:
        if not self._deaf:
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
            self.cycle = self.pipeline[0][0] if self.pipeline else cast("RequestResponseCycle", self.answered)
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
        self.transport.write(self.as_bytes(response, CLOSE))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(min(LINGER, self.timeout_keep_alive), self._hang_up)

    def _hang_up(self) -> None:
        self.transport.close()
        self.wait_for_reader()

    def _head_without_upgrade(self) -> bytes:
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        return b"".join((b"%b %b HTTP/%b\r\n" % (method, self.url, version), *fields, b"\r\n"))

    def on_headers_complete(self) -> None:
        if not self._is_upgrade():
            super().on_headers_complete()

    def _is_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def on_message_complete(self) -> None:
        if not self._is_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._last_word and self.cycle.response_complete and not self.transport.is_closing():
            self._say(self._last_word)

    def as_bytes(self, response: Response, more_headers: bytes = b"") -> bytes:
        """As it is sent, with the server's own headers."""
        headers = (*self.server_state.default_headers, *response.raw_headers)
        lines = [b"%b: %b\r\n" % header for header in headers]
        status = STATUS_LINE[response.status_code]
        return b"".join((status, *lines, more_headers, b"\r\n", response.body))


def _parser(protocol: HttpToolsProtocol) -> HttpRequestParser:
    """As uvicorn has it: what comes after a request that closes the connection is ignored."""
    parser = HttpRequestParser(protocol)
    with suppress(AttributeError):  # an older httptools
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
