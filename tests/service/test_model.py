"""One model between its batcher and an engine that tells which thread ran it."""

import asyncio
import threading
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray

import service.model
from service.app import create_app
from service.errors import NotReady, QueueFull
from service.load import Load
from service.model import FLOODED_RUN, LATE, SEVERAL, TIMED_RUNS, Model
from service.settings import Settings
from tests.service.stripes import stripe
from tests.service.test_errands import no_thread_can_be_started
from tests.service.test_load import flood

IMAGES = stripe(5)[None]


class WatchedEngine:
    """Stands before a model's engine and notes the threads and rows of its runs."""

    def __init__(self, model: Model) -> None:
        self._engine = model._engine
        self.outputs = self._engine.outputs
        self.threads: list[threading.Thread] = []
        self.rows: list[int] = []
        self.ended = threading.Event()
        model._engine = self  # type: ignore[assignment]

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        self.threads.append(threading.current_thread())
        self.rows.append(len(images))
        answers = self._engine.run(images)
        self.ended.set()
        return answers


@pytest.fixture
def app(artifacts: Path) -> FastAPI:
    return create_app(Settings(artifacts=artifacts, engine="onnxruntime", inline_run=0))


async def test_a_run_goes_to_a_thread_until_the_loop_is_late_and_again_when_that_is_over(
    app: FastAPI,
) -> None:
    async with app.router.lifespan_context(app):
        model: Model = app.state.service.store.snapshot.find("mnist")
        engine, here = WatchedEngine(model), threading.current_thread()
        run = asyncio.create_task(model.predict(IMAGES))
        while not engine.threads:  # noqa: ASYNC110 — the engine must be busy before the loop is
            await asyncio.sleep(0)
        assert engine.ended.wait(60)
        keep_the_loop_for(100 * LATE * model._batcher.load.seconds(1))
        await run
        await model.predict(IMAGES)
        for _ in range(500):  # with each of them the lateness counts for less
            await model.predict(IMAGES)
    first, second, *later = engine.threads
    assert first is not here
    assert second is here
    assert first in later


@pytest.mark.parametrize(
    ("seconds", "rows", "inline"),
    [(FLOODED_RUN / 2, 1, True), (FLOODED_RUN * 2, 1, False), (FLOODED_RUN / 2, 4, False)],
)
async def test_a_flooded_loop_does_short_runs_itself(
    app: FastAPI, seconds: float, rows: int, *, inline: bool
) -> None:
    async with app.router.lifespan_context(app):
        model: Model = app.state.service.store.snapshot.find("mnist")
        engine = WatchedEngine(model)
        model._batcher.load.learn(1000, 1000 * seconds)
        flood(model._batcher.load, until=asyncio.get_running_loop().time())
        await model.predict(np.repeat(IMAGES, rows, axis=0))
    assert (engine.threads[0] is threading.current_thread()) is inline


@pytest.mark.parametrize("inline_run", [0, 10])
async def test_the_time_of_a_run_is_that_of_all_its_images(
    artifacts: Path, inline_run: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Settings(artifacts=artifacts, engine="onnxruntime", inline_run=inline_run))
    async with app.router.lifespan_context(app):
        model: Model = app.state.service.store.snapshot.find("mnist")
        model._batcher.load = Load()
        monkeypatch.setattr(service.model, "perf_counter", iter([0.0, 8.0, 8.0]).__next__)
        await model.predict(np.repeat(IMAGES, 4, axis=0))
    assert model._batcher.load.seconds(1) == 2


@pytest.mark.parametrize(("inline_run", "runs", "inline"), [(0, 2, False), (10, 2 * TIMED_RUNS, True)])
async def test_a_start_waits_for_few_runs_of_a_net_that_takes_longer_than_the_loop_gives(
    artifacts: Path, inline_run: float, runs: int, *, inline: bool
) -> None:
    app = create_app(Settings(artifacts=artifacts, engine="onnxruntime", inline_run=inline_run))
    async with app.router.lifespan_context(app):
        model: Model = app.state.service.store.snapshot.find("mnist")
        engine = WatchedEngine(model)
        model.time_runs()
        assert len(engine.threads) == runs
        await model.predict(IMAGES)
    assert (engine.threads[-1] is threading.current_thread()) is inline


@pytest.mark.parametrize(
    ("limit", "seconds", "inline", "run"),
    [
        (2.0, (3.0, 3.1), 0, 64),  # one is too long already
        (2.0, (2.0, 5.5), 1, 64),  # as long as it may be
        (64.0, (2.0, 5.5), 125, 256),  # half a second for each after the first; half of four parts
        (4.0, (2.0, 1.0), 65, 128),  # several seem to take less than one: each takes something
        (1e308, (2.0, 5.5), 256, 256),  # more than a run may have
    ],
)
async def test_of_how_many_images_a_run_is_short_is_told_by_what_one_takes_and_what_several_do(
    artifacts: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: float,
    seconds: tuple[float, float],
    inline: int,
    run: int,
) -> None:
    monkeypatch.setattr(Model, "_seconds", lambda _, rows: seconds[(1, SEVERAL).index(rows)])
    app = create_app(Settings(artifacts=artifacts, engine="onnxruntime", inline_run=limit))
    async with app.router.lifespan_context(app):
        model: Model = app.state.service.store.snapshot.find("mnist")
    assert (model._inline_rows, model._batcher._admission.run_rows) == (inline, run)


async def test_those_refused_together_are_all_counted(app: FastAPI) -> None:
    async with app.router.lifespan_context(app):
        model: Model = app.state.service.store.snapshot.find("mnist")
        for callers in (3, 4):
            model.count_refused(callers)
    assert model._batcher.load._came == 7


async def test_its_thread_ends_with_the_service(app: FastAPI) -> None:
    async with app.router.lifespan_context(app):
        model: Model = app.state.service.store.snapshot.find("mnist")
        engine = WatchedEngine(model)
        await model.predict(IMAGES)
    [thread] = engine.threads
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(("keep_open", "rows"), [("all", [1]), ("none", [1, 2, 1])])
async def test_where_its_thread_cannot_be_started_clients_are_told_to_come_again_and_their_images_are_not_run(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, keep_open: str, rows: list[int]
) -> None:
    app = create_app(Settings(artifacts=artifacts, engine="onnxruntime", inline_run=0, keep_open=keep_open))
    run, infer = list[int](), Model.infer

    def noted(model: Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        run.append(len(images))
        return infer(model, images)

    async with app.router.lifespan_context(app):
        model: Model = app.state.service.store.snapshot.find("mnist")
        monkeypatch.setattr(Model, "infer", noted)
        with no_thread_can_be_started():
            for _ in range(3):
                with pytest.raises(NotReady, match="no thread"):
                    await model.predict(IMAGES)
        assert (await model.predict(IMAGES)).argmax() == 5
    assert run == rows


async def test_who_comes_before_the_first_run_waits_no_longer_than_others(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "_seconds", lambda *_: 0.1)
    app = create_app(Settings(artifacts=artifacts, engine="onnxruntime", max_queue_delay=0.5))
    async with app.router.lifespan_context(app):
        model: Model = app.state.service.store.snapshot.find("mnist")
        answers = await asyncio.gather(*(model.predict(IMAGES) for _ in range(20)), return_exceptions=True)
    assert [isinstance(answer, QueueFull) for answer in answers] == [False] * 6 + [True] * 14


@pytest.mark.parametrize(
    ("inline_run", "most", "rows"), [(0, 256, 64), (10, 256, 256), (10, 100, 64), (10, 3, 3)]
)
async def test_runs_that_take_hardly_any_time_may_have_more_images(
    artifacts: Path, inline_run: float, most: int, rows: int
) -> None:
    settings = Settings(artifacts=artifacts, engine="onnxruntime", inline_run=inline_run, max_batch_rows=most)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        model: Model = app.state.service.store.snapshot.find("mnist")
        engine = WatchedEngine(model)
        images = np.repeat(IMAGES, 256, axis=0)[:256]
        part = model.part_rows
        await asyncio.gather(*(model.predict(images[at : at + part]) for at in range(0, 256, part)))
    assert max(engine.rows) == rows


@pytest.mark.parametrize(("inline_run", "at_once"), [(0, False), (10, True)])
async def test_who_is_alone_is_answered_without_a_turn_of_the_loop_where_a_run_is_short(
    artifacts: Path, inline_run: float, *, at_once: bool
) -> None:
    app = create_app(Settings(artifacts=artifacts, engine="onnxruntime", inline_run=inline_run))
    async with app.router.lifespan_context(app):
        model: Model = app.state.service.store.snapshot.find("mnist")
        await model.predict(IMAGES)  # its engine is open from now on
        model._lag = 0.0  # on a machine with other work the loop may have seen the end of that one late
        assert model.admit_coming() is None
        await asyncio.sleep(0)
        prediction = asyncio.ensure_future(model.predict(IMAGES))
        await asyncio.sleep(0)
        assert prediction.done() is at_once
        assert (await prediction).shape == (1, len(model.classes))


def keep_the_loop_for(seconds: float) -> None:
    until = perf_counter() + seconds
    while perf_counter() < until:
        pass
