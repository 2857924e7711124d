"""How much a client may have a connection keep before it is answered: what uvicorn leaves open."""

import asyncio
from collections.abc import Sized

from uvicorn.protocols.http.flow_control import FlowControl

from service.errors import HeadTooLong
from service.patience import PatientProtocol

MOST_HEAD = 65_536  # bytes of a request that are not its body, as many as uvicorn's other parser takes
MOST_WAITING = 32  # requests of a connection behind the one that is being answered; of one piece more may


class PipelineFlow(FlowControl):
    """Nothing more is read while many requests wait for their turn: with each answer thousands would come for one that
    goes, and who reads no answers would fill the memory. While few wait it is, or nobody would hear that their client
    has left."""

    def __init__(self, transport: asyncio.Transport, pipeline: Sized) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        if len(self._pipeline) <= MOST_WAITING:
            super().resume_reading()


class BoundedProtocol(PatientProtocol):
    """One connection."""

    has_body = False
    """whether the latest piece had some; to be set by `on_body`"""
    _pieces = 0
    """bytes of all pieces that the message was in, and perhaps of others before it"""
    _kept = 0
    """bytes that the message has had since there was something of its body"""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.flow = PipelineFlow(transport, self.pipeline)

    def feed(self, piece: bytes | memoryview) -> None:
        """Parses it. Raises what the parser does, and HeadTooLong, which may be the context of a
        HttpParserCallbackError.

        The usual request comes in one piece, and costs nothing more than to know how long that is.
        """
        self._pieces = (self._pieces if self.within else 0) + len(piece)
        message, self.has_body = self.scope, False
        self.parser.feed_data(piece)
        if not self.within:
            return
        if self.scope is not message:  # it began in this piece
            self._kept = self._head_size() if self.in_head else 0
        else:
            self._kept = 0 if self.has_body else self._kept + len(piece)
        _check(self._kept)

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_headers_complete(self) -> None:
        if self._pieces > MOST_HEAD:
            _check(self._head_size())
        # HTTP/1.0 knows no answer before the answer (RFC 9110, section 10.1.1).
        if self.expect_100_continue and self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False
        super().on_headers_complete()
        # What comes after a body in chunks is not of the request's head (RFC 9110, section 6.5.1): whether it came in
        # time to be taken for that would depend on how the request was cut into pieces.
        self.headers = []

    def on_message_complete(self) -> None:
        # Of what came after the body the parser still heeds that the connection is to be closed, and reads no more.
        if self.headers and not self.parser.should_keep_alive():
            self.cycle.keep_alive = False
            if self.cycle.response_complete:
                self.close_when_heard()
        super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        self.has_body = True
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # Each would keep the connection, and it them, until the garbage collector comes by.
        self.pipeline.clear()


def _check(size: int) -> None:
    if size > MOST_HEAD:
        raise HeadTooLong(f"all of the request but its body has more than {MOST_HEAD:,} bytes")
