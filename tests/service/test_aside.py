"""service.aside, and what the endpoints that look inside do there: in which lane, until when, and for whom."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from service.app import create_app
from service.aside import NICENESS, Aside
from service.callers import CallerGoneError, Wanted, always
from service.errors import NotReady
from service.figures.request import FigureRequest
from service.figures.runner import Figures
from service.samples import Samples, SampleSet
from service.settings import Settings
from tests.service.shipped import linked
from tests.service.test_errands import no_thread_can_be_started

NEVER = float("inf")
HOME = "/models/mnist-l2"
# What is asked → in which threads something is done for it, in order.
LANES = {
    f"{HOME}/hard-examples": ["aside", "aside"],
    f"{HOME}/hard-examples?limit=201": ["aside", "drawing"],
    f"{HOME}/hard-examples?format=csv": ["aside", "aside"],
    f"{HOME}/hard-examples?format=csv&limit=201": ["aside", "drawing"],
    f"{HOME}/hard-examples?format=png": ["aside", "drawing"],
    f"{HOME}/hard-examples/1901": ["aside"],
    f"{HOME}/feature-maps": ["aside", "aside"],
    f"{HOME}/feature-maps?format=npz": ["aside", "drawing"],
    f"{HOME}/feature-maps?layer=conv2d": ["aside", "aside"],
    f"{HOME}/feature-maps?layer=conv2d&format=npz": ["aside", "aside"],
    f"{HOME}/feature-maps?layer=conv2d&format=png": ["aside", "drawing"],
    f"{HOME}/training": ["aside"],
    f"{HOME}/calibration": ["aside"],
    f"{HOME}/weights?against=mnist-baseline": ["aside", "aside"],
    f"{HOME}/training?format=png&against=mnist-baseline": ["figure"],
    f"{HOME}/confusion-matrix?format=png": ["figure"],
    f"{HOME}/calibration?format=png": ["aside", "figure"],
    f"{HOME}/weights?format=png&against=mnist-baseline": ["figure"],
}
EACH = pytest.mark.parametrize(("path", "lanes"), LANES.items())


class Leaving:
    """A connection of uvicorn's whose client is gone after so many times that it is asked whether it is."""

    def __init__(self, after: int) -> None:
        self._left = after

    @property
    def disconnected(self) -> bool:
        self._left -= 1
        return self._left < 0

    async def receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FastAPI]:
    """Its figures are no pictures."""

    async def run(_: Figures, request: FigureRequest) -> bytes:
        return request.kind.encode()

    monkeypatch.setattr(Figures, "_run", run)
    artifacts = linked(tmp_path, "mnist-l2", "mnist-baseline")
    app = create_app(Settings(artifacts=artifacts, engine="onnxruntime"))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        yield client


async def asked(app: FastAPI, path: str, connection: Leaving) -> list[Message]:
    """What is sent."""
    before, _, query = path.partition("?")
    scope = {"type": "http", "method": "GET", "path": before, "query_string": query.encode(), "headers": []}
    sent = list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, connection.receive, send)
    return sent


async def test_what_nobody_waits_for_when_its_turn_comes_is_not_begun() -> None:
    aside, begun, go = Aside(max_waiting=2), list[str](), threading.Event()
    first = asyncio.create_task(aside.do(lambda: go.wait(60), NEVER))
    gone = asyncio.create_task(aside.do(lambda: begun.append("gone"), NEVER, lambda: False))
    await asyncio.sleep(0)
    go.set()
    assert await first
    with pytest.raises(CallerGoneError):
        await gone
    await aside.do(lambda: begun.append("there"), NEVER)
    assert begun == ["there"]
    aside.close()


async def test_who_finds_no_thread_is_told_to_come_again_and_keeps_no_place() -> None:
    aside = Aside(max_waiting=2)
    with no_thread_can_be_started():
        for _ in range(3):
            with pytest.raises(NotReady) as refused:
                await aside.do(lambda: "for nobody", NEVER)
            assert "Retry-After" in refused.value.headers
    assert await aside.do(lambda: "done", NEVER) == "done"
    assert aside._waiting == 0
    aside.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
async def test_its_thread_leaves_the_processor_to_the_loop() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    aside = Aside(max_waiting=1)
    assert await aside.do(niceness, NEVER) == min(niceness() + NICENESS, 19)
    aside.close()


@EACH
async def test_for_a_client_who_has_left_nothing_more_is_done(
    app: FastAPI, path: str, lanes: list[str]
) -> None:
    for steps in range(len(lanes)):
        assert await asked(app, path, Leaving(after=steps)) == []
    start, _ = await asked(app, path, Leaving(after=len(lanes)))
    assert start["status"] == 200


@EACH
async def test_all_steps_of_a_request_have_one_deadline_and_each_is_made_in_its_lane(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str, lanes: list[str]
) -> None:
    found, deadlines = list[str](), set[float]()
    do, draw, of = Aside.do, Figures.draw, Samples.of

    def noted(work: Callable[[], Any]) -> Any:
        found.append(threading.current_thread().name.removesuffix("_0"))
        return work()

    async def noted_do(self: Aside, work: Callable[[], Any], deadline: float, wanted: Wanted = always) -> Any:
        deadlines.add(deadline)
        return await do(self, lambda: noted(work), deadline, wanted)

    async def noted_draw(
        self: Figures, request: FigureRequest, deadline: float, wanted: Wanted = always
    ) -> bytes:
        deadlines.add(deadline)
        found.append("figure")
        return await draw(self, request, deadline, wanted)

    async def noted_of(self: Samples, dataset: str, deadline: float) -> SampleSet:
        deadlines.add(deadline)
        return await of(self, dataset, deadline)

    monkeypatch.setattr(Aside, "do", noted_do)
    monkeypatch.setattr(Figures, "draw", noted_draw)
    monkeypatch.setattr(Samples, "of", noted_of)
    assert (await client.get(path)).status_code == 200
    assert found == lanes
    assert len(deadlines) == 1


@pytest.mark.parametrize("name", ["select", "example_at", "item"])
@pytest.mark.parametrize("kind", ["json", "csv", "png"])
async def test_no_hard_example_is_chosen_or_made_by_the_event_loop(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    from service.routes import hard_examples  # noqa: PLC0415

    threads, real = set[str](), getattr(hard_examples, name)

    def noted(*arguments: Any) -> Any:
        threads.add(threading.current_thread().name)
        return real(*arguments)

    monkeypatch.setattr(hard_examples, name, noted)
    for path in (f"?limit=2&format={kind}", "/1901"):
        assert (await client.get(f"{HOME}/hard-examples{path}")).status_code == 200
    assert threads <= {"aside_0", "drawing_0"}


async def test_much_that_is_drawn_keeps_nobody_from_the_rest(app: FastAPI, client: httpx.AsyncClient) -> None:
    service = app.state.service
    begun, go = threading.Event(), threading.Event()

    def draw() -> bool:
        begun.set()
        return go.wait(60)

    many = range(service.settings.max_aside)
    held = [asyncio.create_task(service.drawing.do(draw, NEVER)) for _ in many]
    try:
        assert await asyncio.to_thread(begun.wait, 60)
        refused = await client.get(f"{HOME}/hard-examples?format=png")
        others = [
            await client.get(f"{HOME}/{path}") for path in ("training", "hard-examples", "feature-maps")
        ]
    finally:
        go.set()
        assert all(await asyncio.gather(*held))
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/queue-full")
    assert [answer.status_code for answer in others] == [200, 200, 200]


async def test_both_lanes_end_with_the_service(tmp_path: Path) -> None:
    app = create_app(Settings(artifacts=linked(tmp_path, "mnist-l2"), engine="onnxruntime"))
    async with app.router.lifespan_context(app):
        pass
    for lane in (app.state.service.aside, app.state.service.drawing):
        with pytest.raises(RuntimeError, match="after shutdown"):
            lane.later(lambda: None)
