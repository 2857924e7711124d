"""What a request took is free as soon as it is answered: the garbage collector seldom comes by.

An image in a reference cycle stays until it does. A traceback makes one, where a frame that it holds has the error, or
whatever has the error, in a variable.
"""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from types import FrameType, TracebackType
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.app import YOUNG_OBJECTS, create_app
from service.settings import Settings
from tests.conftest import serving as in_process
from tests.service.held import PATIENCE, HeldEngine, waiting
from tests.service.stripes import encoded, stripe
from tests.service.test_overload import FailingEngine
from tests.service.test_protocol import served
from tests.service.test_uploads import FORM, form

IMAGE = encoded(stripe(5))
LARGE = IMAGE[:60] + bytes(10_000)  # broken, and too large for the loop to decode it itself
NOTHING = bytes(10_000)
V2 = "/v2/models/mnist/infer"
JSON = "application/json"
TENSOR = b'{"inputs":[{"name":"image","shape":[1,28,28,1],"datatype":"UINT8","data":[%b]}]}'

Sent = tuple[str, str, bytes]
"""path, content type and body of a POST"""

GOOD: list[Sent] = [
    ("/predict/mnist", "image/png", IMAGE),
    ("/predict/mnist/top-k", FORM, form(('name="file"', IMAGE))),
    ("/predict/mnist/batch", FORM, form(('name="files"', IMAGE), ('name="files"', LARGE), ('name="files"', NOTHING))),
    (V2, JSON, TENSOR % b",".join([b"0"] * 784)),
]  # fmt: skip
BAD: list[Sent] = [
    ("/predict/mnist", "image/png", LARGE),
    ("/predict/mnist", "image/png", NOTHING),
    ("/predict/mnist", "image/png", IMAGE[:60]),
    ("/predict/mnist", "image/png", b""),
    ("/predict/mnist", "text/plain", IMAGE),
    ("/predict/mnist?top_k=99", "image/png", IMAGE),
    ("/predict/mnist?top_k=x", "image/png", IMAGE),
    ("/predict/nothing", "image/png", LARGE),
    ("/predict/mnist/batch", FORM, form(('name="files"', IMAGE))[:-4]),
    ("/models/mnist/feature-maps", "image/png", LARGE),
    (V2, JSON, b"{}"),
    (V2, JSON, b'{"inputs":'),
    (V2, JSON, TENSOR % b"1,2"),
    ("/nowhere", "image/png", LARGE),
]
FAR = len(IMAGE) // 2
HOLDERS = (
    BaseException,
    FrameType,
    TracebackType,
    Request,
    asyncio.Protocol,
    asyncio.Future,
    RequestResponseCycle,
)
"""types of what a request is held by"""


@asynccontextmanager
async def serving(artifacts: Path, **settings: Any) -> AsyncIterator[tuple[FastAPI, uvicorn.Server]]:
    app = create_app(Settings(artifacts=artifacts, engine="onnxruntime", **settings), owns_process=True)
    async with served(app) as server:
        yield app, server


def raw(sent: Sent) -> bytes:
    path, content_type, body = sent
    head = f"POST {path} HTTP/1.1\r\nHost: service\r\nConnection: close\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def answered(port: int, request: bytes) -> int:
    """The answer's status, when the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as one:
        one.sendall(request)
        answer = b""
        while piece := one.recv(65536):
            answer += piece
    return int(answer.split()[1])


def given_up(port: int, request: bytes) -> int:
    """Says no more before there is an answer; the server closes such a connection, and so has noticed it."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as one:
        one.sendall(request)
        one.shutdown(socket.SHUT_WR)
        while one.recv(65536):
            pass
    return 0


async def left_by(server: uvicorn.Server, request: bytes, send: Any = answered) -> tuple[int, set[str]]:
    """The answer's status, and what of the request only the garbage collector could find afterwards."""
    port, state = server.servers[0].sockets[0].getsockname()[1], server.server_state
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        status = await asyncio.to_thread(send, port, request)
        while state.connections or state.tasks:  # noqa: ASYNC110 — uvicorn tells nobody
            await asyncio.sleep(0)
        gc.collect()
        # asyncio's transports, which uvloop's are not, leave themselves; they hold nothing of a request.
        return status, {type(one).__name__ for one in gc.garbage if isinstance(one, HOLDERS)}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def test_what_is_answered_leaves_nothing(artifacts: Path) -> None:
    async with serving(artifacts) as (_, server):
        left = [await left_by(server, raw(one)) for one in GOOD]
    assert left == [(200, set())] * len(GOOD)


async def test_what_is_wrong_leaves_nothing(artifacts: Path) -> None:
    async with serving(artifacts) as (_, server):
        left = [await left_by(server, raw(one)) for one in BAD]
    assert [(status // 100, kinds) for status, kinds in left] == [(4, set())] * len(BAD)


@pytest.mark.parametrize("sent", [GOOD[0], GOOD[2]], ids=["gate", "application"])
async def test_who_leaves_leaves_nothing(artifacts: Path, sent: Sent) -> None:
    async with serving(artifacts) as (_, server):
        assert await left_by(server, raw(sent)[:-FAR], given_up) == (0, set())
        assert await left_by(server, raw(sent), given_up) == (0, set())


@pytest.mark.parametrize("sent", [GOOD[2], BAD[0], BAD[9]], ids=["batch", "gate", "application"])
async def test_who_leaves_while_waiting_for_a_thread_leaves_nothing(artifacts: Path, sent: Sent) -> None:
    async with serving(artifacts) as (app, server):
        go, threads = Event(), app.state.service.preparer._threads
        for _ in range(threads._max_workers):
            threads.submit(go.wait, PATIENCE)

        def left(port: int, request: bytes) -> int:
            status = given_up(port, request)
            go.set()
            return status

        assert await left_by(server, raw(sent), left) == (0, set())


@pytest.mark.parametrize("cut", [None, -FAR])
@pytest.mark.parametrize("second", [GOOD[0], GOOD[2]], ids=["gate", "application"])
@pytest.mark.parametrize("first", [GOOD[0], GOOD[2]], ids=["gate", "application"])
async def test_who_leaves_with_one_request_behind_another_leaves_nothing(
    artifacts: Path, first: Sent, second: Sent, cut: int | None
) -> None:
    both = [raw(sent).replace(b"Connection: close\r\n", b"") for sent in (first, second)]
    async with serving(artifacts) as (_, server):
        assert await left_by(server, b"".join(both)[:cut], given_up) == (0, set())


@pytest.mark.parametrize("sent", [GOOD[0], GOOD[2], BAD[0]], ids=["gate", "application", "large"])
async def test_what_is_too_late_leaves_nothing(artifacts: Path, sent: Sent) -> None:
    async with serving(artifacts, deadline=1e-9) as (_, server):
        assert await left_by(server, raw(sent)) == (504, set())


@pytest.mark.parametrize("sent", [GOOD[0], GOOD[2]], ids=["gate", "application"])
async def test_what_an_engine_fails_over_leaves_nothing(artifacts: Path, sent: Sent) -> None:
    async with serving(artifacts) as (app, server):
        app.state.service.store.snapshot.find("mnist")._engine = FailingEngine()
        assert await left_by(server, raw(sent)) == (500, set())


@pytest.mark.parametrize("sent", [GOOD[0], GOOD[2]], ids=["gate", "application"])
async def test_what_finds_the_queue_full_leaves_nothing(artifacts: Path, sent: Sent) -> None:
    async with serving(artifacts, inline_run=0, max_queue_rows=1, max_batch_rows=1) as (app, server):
        model = app.state.service.store.snapshot.find("mnist")
        with HeldEngine(app) as engine:
            running = asyncio.create_task(model.predict(stripe(5)[None]))
            await engine.until_busy()
            queued = asyncio.create_task(model.predict(stripe(5)[None]))
            await waiting(app, 1)
            assert await left_by(server, raw(sent)) == (503, set())
        await asyncio.gather(running, queued)


async def test_the_collector_waits_while_the_service_is_up_and_no_longer(artifacts: Path) -> None:
    usual = gc.get_threshold()
    async with serving(artifacts):
        assert gc.get_threshold()[0] == YOUNG_OBJECTS
    assert gc.get_threshold() == usual


async def test_the_collector_of_a_process_that_does_more_than_serve_is_left_alone(artifacts: Path) -> None:
    usual, kept = gc.get_threshold(), gc.get_freeze_count()
    async with in_process(artifacts):
        assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, kept)
