"""What a client gets when there is too much to do, when a model fails, and when the service stops."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray
from starlette.types import Message

from service.app import create_app
from service.errors import QueueFull
from service.images import prepare_each
from service.lanes import Begun
from service.settings import Settings
from tests.service.held import PATIENCE, HeldEngine, waiting
from tests.service.stripes import encoded, stripe, write_model
from tests.service.test_class_names import write_maps

IMAGE = encoded(stripe(5))
URL = "/predict/mnist?preprocess=none"
BATCH = "/predict/mnist/batch?preprocess=none"
INFER = "/v2/models/mnist/infer"
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    + IMAGE
    + b"\r\n--x--\r\n"
)
TENSOR = json.dumps(
    {
        "inputs": [
            {
                "name": "image",
                "datatype": "UINT8",
                "shape": [1, 28, 28, 1],
                "data": stripe(5).ravel().tolist(),
            }
        ]
    }
).encode()
MAPS = "/models/mnist/feature-maps"
BODIES = {URL: IMAGE, BATCH: FORM, INFER: TENSOR}
HEADERS = {
    URL: {"Content-Type": "image/png"},
    BATCH: {"Content-Type": "multipart/form-data; boundary=x"},
    INFER: {"Content-Type": "application/json"},
}


class FailingEngine:
    """Its graph cannot be run."""

    outputs = ("probabilities",)

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        raise RuntimeError(f"secret of /srv/models, {len(images)} rows")


def of_files(files: list[bytes]) -> dict[str, Any]:
    """A request of the Open Inference Protocol."""
    data = [b64encode(one).decode() for one in files]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data}]}


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")


@pytest.fixture
def small_queue(artifacts: Path) -> FastAPI:
    return create_app(Settings(artifacts=artifacts, inline_run=0, max_queue_rows=2, max_batch_rows=1))


@asynccontextmanager
async def filled(
    app: FastAPI, client: httpx.AsyncClient
) -> AsyncIterator[list[asyncio.Task[httpx.Response]]]:
    """The callers: one that the engine has, which is busy for so long, and two that its queue holds."""
    with HeldEngine(app) as engine:
        callers = [asyncio.create_task(client.post(URL, content=IMAGE))]
        await engine.until_busy()
        callers += [asyncio.create_task(client.post(URL, content=IMAGE)) for _ in range(2)]
        await waiting(app, 2)
        yield callers


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(small_queue: FastAPI) -> None:
    async with small_queue.router.lifespan_context(small_queue), client_of(small_queue) as client:
        async with filled(small_queue, client) as callers:
            refused = await client.post(URL, content=IMAGE)
        answered = await asyncio.gather(*callers)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.json()["type"] == "/problems/queue-full"
    assert [answer.json()["label"] for answer in answered] == ["5"] * 3


@pytest.mark.parametrize("path", [URL, "/predict/mnist/top-k", INFER])
async def test_what_a_full_queue_refuses_is_not_even_looked_at(small_queue: FastAPI, path: str) -> None:
    async with small_queue.router.lifespan_context(small_queue), client_of(small_queue) as client:
        async with filled(small_queue, client) as callers:
            refused = await client.post(path, content=b"neither an image nor JSON")
        await asyncio.gather(*callers)
        looked_at = await client.post(path, content=b"neither an image nor JSON")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert looked_at.status_code in (400, 415)


async def test_images_that_wait_for_an_older_version_are_told_too(artifacts: Path) -> None:
    write_model(artifacts, "stripes", "2")
    app = create_app(Settings(artifacts=artifacts, inline_run=0, max_batch_rows=1))
    async with app.router.lifespan_context(app), client_of(app) as client:
        with HeldEngine(app, version="1") as engine:
            first = asyncio.create_task(client.post(f"{URL}&version=1", content=IMAGE))
            await engine.until_busy()
            second = asyncio.create_task(client.post(f"{URL}&version=1", content=IMAGE))
            await waiting(app, 1, version="1")
            told = (await client.get("/metrics")).text
        await asyncio.gather(first, second)
    assert 'convscope_waiting_rows{model="stripes"} 1' in told


async def test_one_busy_model_keeps_no_other_from_answering(small_queue: FastAPI) -> None:
    async with small_queue.router.lifespan_context(small_queue), client_of(small_queue) as client:
        with HeldEngine(small_queue) as engine:
            first = asyncio.create_task(client.post(URL, content=IMAGE))
            await engine.until_busy()
            other = await client.post("/predict/cifar10", content=encoded(stripe(2, "cifar10")))
            assert other.json()["label"] == "class-2"
        await first


@pytest.mark.parametrize(("path", "body"), BODIES.items(), ids=BODIES)
async def test_an_answer_that_is_late_is_a_504(artifacts: Path, path: str, body: bytes) -> None:
    app = create_app(Settings(artifacts=artifacts, inline_run=0, deadline=0.01))
    async with app.router.lifespan_context(app), client_of(app) as client:
        with HeldEngine(app):
            async with asyncio.timeout(PATIENCE):
                answer = await client.post(path, content=body, headers=HEADERS[path])
    assert answer.status_code == 504
    said = answer.json()
    assert "error" in said if path == INFER else said["type"] == "/problems/deadline-passed"


@pytest.mark.parametrize(("path", "body"), [*BODIES.items(), (MAPS, IMAGE)], ids=[*BODIES, MAPS])
async def test_the_time_that_a_client_takes_to_send_is_not_the_services(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, path: str, body: bytes
) -> None:
    loop = asyncio.get_running_loop()
    clock, late = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: clock() + late)

    async def slowly() -> AsyncIterator[bytes]:
        nonlocal late
        yield body[:40]
        late += 1000
        yield body[40:]

    write_maps(artifacts / "models" / "stripes" / "1")
    app = create_app(Settings(artifacts=artifacts, deadline=100))
    async with app.router.lifespan_context(app), client_of(app) as client:
        answer = await client.post(path, content=slowly(), headers=HEADERS.get(path))
    assert answer.status_code == 200


CIFAR10_MANY = ["/predict/cifar10/batch", "/v2/models/cifar10/infer"]


async def send_many(client: httpx.AsyncClient, path: str, count: int, *more: bytes) -> httpx.Response:
    files = [*more, *(encoded(stripe(digit, "cifar10")) for digit in range(count))]
    if path.startswith("/v2"):
        return await client.post(path, json=of_files(files))
    return await client.post(path, files=[("files", ("a.png", one)) for one in files])


@pytest.mark.parametrize("last", [1, 2])
@pytest.mark.parametrize("path", CIFAR10_MANY)
async def test_many_images_that_were_begun_are_not_refused_for_others(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, path: str, last: int
) -> None:
    """As many others come between as may wait, to be decoded and for the engine, or as would all be late."""
    app = create_app(Settings(artifacts=artifacts, max_batch_rows=2))
    preparer = app.state.service.preparer
    prepare_each, parts = preparer.prepare_each, list[int]()

    async def crowded(files: list[bytes], *rest: Any, **options: Any) -> Any:
        batcher = app.state.service.find("cifar10", None)._batcher
        monkeypatch.setattr(batcher, "refusal", lambda rows=1: QueueFull("there are too many"))
        batcher._admission.begun.add(Begun(10**12, 0))
        prepared = await prepare_each(files, *rest, **options)
        preparer._waiting = preparer._most_waiting
        parts.append(len(files))
        return prepared

    monkeypatch.setattr(preparer, "prepare_each", crowded)
    async with app.router.lifespan_context(app), client_of(app) as client:
        answer = await send_many(client, path, 2 + last)
    assert (answer.status_code, parts) == (200, [2, last])
    assert f"class-{1 + last}" in answer.text


@pytest.mark.parametrize("path", CIFAR10_MANY)
async def test_many_images_that_would_be_late_are_refused_before_they_are_decoded(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    app = create_app(Settings(artifacts=artifacts))
    async with app.router.lifespan_context(app), client_of(app) as client:
        batcher = app.state.service.find("cifar10", None)._batcher
        batcher.load.learn(1000, 1000.0)
        monkeypatch.setattr(app.state.service.preparer, "prepare_each", None)
        with batcher.begin(100, inf):
            refused = await send_many(client, path, 10)
        monkeypatch.undo()
        answer = await send_many(client, path, 10)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert "100 images of other requests are under way; 10 more, or those, would be late" in refused.text
    assert answer.status_code == 200


@pytest.mark.parametrize("fails", [False, True])
async def test_the_images_of_a_batch_that_nobody_has_seen_are_under_way(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """All of them, also one that is none, and nothing any more when it is answered."""
    app = create_app(Settings(artifacts=artifacts, max_batch_rows=2))
    preparer = app.state.service.preparer
    prepare_each, under_way = preparer.prepare_each, list[list[int]]()
    begun: set[Begun] = set()

    async def noted(files: list[bytes], *rest: Any, **options: Any) -> Any:
        under_way.append([one.left for one in begun])
        if fails and len(under_way) == 2:
            raise QueueFull("there are too many to decode")
        return await prepare_each(files, *rest, **options)

    monkeypatch.setattr(preparer, "prepare_each", noted)
    async with app.router.lifespan_context(app), client_of(app) as client:
        begun = app.state.service.find("cifar10", None)._batcher._admission.begun
        await send_many(client, CIFAR10_MANY[0], 4, b"no image")
    assert under_way == [[5], [3], [1]][: 2 if fails else 3]
    assert not begun


async def test_who_wants_only_a_layer_does_not_have_the_model_run(artifacts: Path) -> None:
    write_maps(artifacts / "models" / "stripes" / "1")
    app = create_app(Settings(artifacts=artifacts, inline_run=0))
    async with app.router.lifespan_context(app), client_of(app) as client:
        model = app.state.service.store.snapshot.find("mnist")
        model._engine = FailingEngine()
        model._batcher.load.learn(1000, 10_000.0)
        found, two = [], of_files([IMAGE, IMAGE])
        with model._batcher.begin(100, inf):  # two images more would be late
            for request, names in [
                (json.loads(TENSOR), ["dense"]),
                (two, ["dense"]),
                (two, ["dense", "label"]),
            ]:
                outputs = [{"name": name} for name in names]
                found.append(await client.post(INFER, json=request | {"outputs": outputs}))
        found.append(await client.post(INFER, json=json.loads(TENSOR)))
    assert [one.status_code for one in found] == [200, 200, 503, 500]
    values = found[0].json()["outputs"][0]["data"]
    assert max(range(10), key=values.__getitem__) == 5


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
            await engine.until_busy()
            asyncio.get_running_loop().call_soon(engine.go.set)
        assert (await accepted).json()["label"] == "5"
        assert (await client.post(URL, content=IMAGE)).status_code == 503


LARGE = encoded(np.zeros((99, 99, 1), np.uint8))  # a thread decodes it
LARGE_BODIES = {
    URL: LARGE,
    BATCH: FORM.replace(IMAGE, LARGE),
    INFER: json.dumps(of_files([LARGE])).encode(),
}


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize(("path", "body"), LARGE_BODIES.items(), ids=LARGE_BODIES)
async def test_the_large_image_of_a_client_that_left_is_not_decoded(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, path: str, body: bytes, *, left: bool
) -> None:
    class Client:
        """What uvicorn receives by; one that left did so with its last byte."""

        disconnected = left

        async def receive(self) -> Message:
            return {"type": "http.request", "body": body}

    async def send(_: Message) -> None:
        """Nobody hears it."""

    decoded = list[bool]()

    def noted(*arguments: Any, **options: Any) -> Any:
        decoded.append(True)
        return prepare_each(*arguments, **options)

    monkeypatch.setattr("service.preparation.prepare_each", noted)
    app = create_app(Settings(artifacts=artifacts))
    headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS[path].items()]
    scope = {"type": "http", "method": "POST", "path": path.partition("?")[0], "query_string": b""}
    async with app.router.lifespan_context(app):
        await app(scope | {"headers": headers}, Client().receive, send)
    assert decoded == [True] * (not left)


@pytest.mark.parametrize(("path", "body"), BODIES.items(), ids=BODIES)
async def test_the_row_of_a_client_that_left_is_not_run(artifacts: Path, path: str, body: bytes) -> None:
    """Over real sockets, with the server the project runs: only there does a client leave."""
    app = create_app(Settings(artifacts=artifacts, inline_run=0))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 — uvicorn tells nobody when it has started
        await asyncio.sleep(0)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        with HeldEngine(app) as engine:
            first = asyncio.create_task(client.post(URL, content=IMAGE))
            await engine.until_busy()
            _, leaving = await asyncio.open_connection("127.0.0.1", port)
            leaving.write(
                f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {HEADERS[path]['Content-Type']}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await waiting(app, 1)
            leaving.close()
            await leaving.wait_closed()
            await client.get("/health/live")  # a whole turn of the server: it has seen the connection close
        assert (await first).json()["label"] == "5"
        assert 'status="499"} 1' in (await client.get("/metrics")).text
    server.should_exit = True
    await running
    assert engine.rows == 1
