"""What a client gets when there is too much to do, when a model fails, and when the service stops."""

import asyncio
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray

from service.app import create_app
from service.settings import Settings
from tests.service.stripes import encoded, stripe

IMAGE = encoded(stripe(5))
URL = "/predict/mnist?preprocess=none"


class HeldEngine:
    """Stands before a model's engine: runs wait in their thread until `go` is set."""

    def __init__(self, app: FastAPI) -> None:
        model = app.state.service.store.snapshot.find("mnist")
        self.engine = model._engine
        self.outputs = self.engine.outputs
        self.rows = 0
        self.busy = threading.Event()
        self.go = threading.Event()
        model._engine = self

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        self.rows += len(images)
        self.busy.set()
        self.go.wait()
        answers: list[NDArray[np.float32]] = self.engine.run(images)
        return answers


class FailingEngine:
    """Its graph cannot be run."""

    outputs = ("probabilities",)

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        raise RuntimeError(f"secret of /srv/models, {len(images)} rows")


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")


@pytest.fixture
def small_queue(artifacts: Path) -> FastAPI:
    return create_app(Settings(artifacts=artifacts, inline_run=0, max_queue_rows=2, max_batch_rows=1))


async def waiting(app: FastAPI, rows: int) -> None:
    """Until so many rows are queued."""
    model = app.state.service.store.snapshot.find("mnist")
    while model.waiting_rows < rows:  # noqa: ASYNC110 — the queue tells nobody when it grows
        await asyncio.sleep(0)


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(small_queue: FastAPI) -> None:
    async with small_queue.router.lifespan_context(small_queue), client_of(small_queue) as client:
        engine = HeldEngine(small_queue)
        first = asyncio.create_task(client.post(URL, content=IMAGE))
        await asyncio.to_thread(engine.busy.wait)
        others = [asyncio.create_task(client.post(URL, content=IMAGE)) for _ in range(2)]
        await waiting(small_queue, 2)
        refused = await client.post(URL, content=IMAGE)
        engine.go.set()
        answered = await asyncio.gather(first, *others)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.json()["type"] == "/problems/queue-full"
    assert [answer.json()["label"] for answer in answered] == ["5"] * 3


async def test_one_busy_model_keeps_no_other_from_answering(small_queue: FastAPI) -> None:
    async with small_queue.router.lifespan_context(small_queue), client_of(small_queue) as client:
        engine = HeldEngine(small_queue)
        first = asyncio.create_task(client.post(URL, content=IMAGE))
        await asyncio.to_thread(engine.busy.wait)
        other = await client.post("/predict/cifar10", content=encoded(stripe(2, "cifar10")))
        assert other.json()["label"] == "class-2"
        engine.go.set()
        await first


async def test_an_answer_that_is_late_is_a_504(artifacts: Path) -> None:
    app = create_app(Settings(artifacts=artifacts, inline_run=0, deadline=0.01))
    async with app.router.lifespan_context(app), client_of(app) as client:
        engine = HeldEngine(app)
        answer = await client.post(URL, content=IMAGE)
        engine.go.set()
    assert answer.status_code == 504
    assert answer.json()["type"] == "/problems/deadline-passed"


async def test_a_failing_model_is_a_500_without_its_secrets(
    artifacts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(Settings(artifacts=artifacts, inline_run=0))
    async with app.router.lifespan_context(app), client_of(app) as client:
        app.state.service.store.snapshot.find("mnist")._engine = FailingEngine()
        answer = await client.post(URL, content=IMAGE)
        after = await client.post("/predict/cifar10", content=encoded(stripe(2, "cifar10")))
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/internal"
    assert "secret" not in answer.text
    assert "secret of /srv/models, 1 rows" in caplog.text
    assert after.json()["label"] == "class-2"


async def test_stopping_answers_what_was_accepted(artifacts: Path) -> None:
    app = create_app(Settings(artifacts=artifacts, inline_run=0))
    async with client_of(app) as client:
        async with app.router.lifespan_context(app):
            engine = HeldEngine(app)
            accepted = asyncio.create_task(client.post(URL, content=IMAGE))
            await asyncio.to_thread(engine.busy.wait)
            asyncio.get_running_loop().call_soon(engine.go.set)
        assert (await accepted).json()["label"] == "5"
        assert (await client.post(URL, content=IMAGE)).status_code == 503


async def test_the_row_of_a_client_that_left_is_not_run(artifacts: Path) -> None:
    """Over real sockets, with the server the project runs: only there does a client leave."""
    app = create_app(Settings(artifacts=artifacts, inline_run=0))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 — uvicorn tells nobody when it has started
        await asyncio.sleep(0)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        engine = HeldEngine(app)
        first = asyncio.create_task(client.post(URL, content=IMAGE))
        await asyncio.to_thread(engine.busy.wait)
        _, leaving = await asyncio.open_connection("127.0.0.1", port)
        leaving.write(
            f"POST {URL} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(IMAGE)}\r\n\r\n".encode() + IMAGE
        )
        await waiting(app, 1)
        leaving.close()
        await leaving.wait_closed()
        await client.get("/health/live")  # a whole turn of the server: it has seen the connection close
        engine.go.set()
        assert (await first).json()["label"] == "5"
        assert 'status="499"} 1' in (await client.get("/metrics")).text
    server.should_exit = True
    await running
    assert engine.rows == 1
