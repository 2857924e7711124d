"""Models whose engines are opened again: of which files, when, and what is told where they cannot be."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import service.model
import service.model_store
from service.errors import NotReady
from service.manifest import MANIFEST, MODEL, file_entry
from tests.conftest import serving
from tests.service.held import PATIENCE
from tests.service.stripes import encoded, stripe, write_aliases, write_model
from tests.service.test_model_store import is_open, rewrite, store_of

IMAGES = stripe(3)[None]
WEIGHTS = "weights.bin"


def graph_of(artifacts: Path) -> Path:
    return artifacts / "models" / "stripes" / "1" / MODEL


async def states(client: httpx.AsyncClient) -> list[object]:
    """Of the model of stripes, in the three places that tell."""
    return [
        (await client.get("/models/stripes")).json()["state"],
        (await client.get("/v2/models/stripes/ready")).status_code,
        len((await client.get("/models")).json()["refused"]),
    ]


async def test_a_model_whose_files_are_right_again_is_ready_before_anybody_asks(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service.model_store, "SHORTEST_SWEEP", 0.0)
    graph = graph_of(artifacts)
    right = graph.read_bytes()
    async with serving(artifacts, keep_open="none", engine_idle=1e-9) as client:
        graph.unlink()
        assert (await client.post("/predict/stripes", content=encoded(stripe(3)))).status_code == 503
        store = client._transport.app.state.service.store  # type: ignore[attr-defined]
        for _ in range(3):
            await store.snapshot.find("stripes").try_again()
        assert await states(client) == ["unavailable", 503, 1]
        graph.write_bytes(right)
        async with asyncio.timeout(PATIENCE):
            while await states(client) != ["ready", 200, 0]:  # noqa: ASYNC110 — nobody is told of it
                await asyncio.sleep(0)
    told = [one.getMessage() for one in caplog.records if "cannot be opened" in one.getMessage()]
    assert told == ["stripes 1 cannot be opened again: model.onnx is missing"]


async def test_a_model_that_is_available_is_not_opened_for_nobody(artifacts: Path) -> None:
    model = (await store_of(artifacts, keep_open="none").reload()).find("stripes")
    await model.try_again()
    assert not is_open(model)


@pytest.mark.parametrize("inline_run", [0, 10])
async def test_an_engine_that_is_being_tried_again_answers_nobody_before_it_is_warm(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, inline_run: float
) -> None:
    """In the thread, an engine is open from before it is found wrong until after."""
    model = (await store_of(artifacts, keep_open="none", inline_run=inline_run).reload()).find("stripes")
    prediction = list["asyncio.Future[object]"]()
    loop = asyncio.get_running_loop()

    def predict() -> None:
        prediction.append(asyncio.ensure_future(model.predict(IMAGES)))

    async def turns() -> None:
        predict()
        for _ in range(10):
            await asyncio.sleep(0)

    def fails(*_: object) -> None:
        if not prediction:
            asyncio.run_coroutine_threadsafe(turns(), loop).result(PATIENCE)
        raise ValueError("it is wrong")

    monkeypatch.setattr(model, "_check", fails)
    model.unavailable = "it was wrong"
    await model.try_again()
    with pytest.raises(NotReady, match="it is wrong"):
        await prediction[0]


async def test_the_graph_is_opened_again_with_the_weights_that_it_was_published_with(artifacts: Path) -> None:
    folder = graph_of(artifacts).parent
    (folder / WEIGHTS).write_bytes(b"weights")
    files = json.loads((folder / MANIFEST).read_text())["files"]
    rewrite(folder, files=files | {WEIGHTS: file_entry(folder / WEIGHTS).model_dump()})
    model = (await store_of(artifacts, keep_open="none").reload()).find("stripes")
    (folder / WEIGHTS).write_bytes(b"another")
    with pytest.raises(NotReady, match=r"weights\.bin has another checksum"):
        await model.predict(IMAGES)


async def test_a_version_that_was_published_anew_is_another(artifacts: Path) -> None:
    store = store_of(artifacts)
    held = (await store.reload()).find("stripes")
    rewrite(graph_of(artifacts).parent, description="published anew")
    now = (await store.reload()).find("stripes")
    assert now is not held
    assert now.manifest.description == "published anew"


async def test_an_alias_keeps_the_latest_version_open_and_no_other(artifacts: Path) -> None:
    write_model(artifacts, "stripes", "2")
    store = store_of(artifacts, keep_open="aliases", engine_idle=3600)
    await store.reload()
    older, latest = (store.snapshot.find("stripes", version) for version in "12")
    for model in (older, latest):
        await model.predict(IMAGES)
        model._used -= 3600
    assert store.let_go() == [older]
    assert is_open(latest)


async def test_what_opening_again_took_is_given_back_and_what_is_let_go(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = list[str]()

    def noting(where: str) -> Callable[[], None]:
        return lambda: given.append(where)

    write_aliases(artifacts, {})
    store = store_of(artifacts, keep_open="none", engine_idle=1e-9)
    model = (await store.reload()).find("stripes")
    monkeypatch.setattr(service.model, "give_back", noting("opened"))
    monkeypatch.setattr(service.model_store, "give_back", noting("let go"))
    monkeypatch.setattr(service.model_store, "SHORTEST_SWEEP", 0.0)
    await model.predict(IMAGES)
    assert given == ["opened"]
    tending = asyncio.create_task(store.tend())
    async with asyncio.timeout(PATIENCE):
        while len(given) < 2:  # noqa: ASYNC110 — nobody is told of it
            await asyncio.sleep(0)
    tending.cancel()
    assert given == ["opened", "let go"]
