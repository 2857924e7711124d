"""What the whole service says at its start, and does for pages of other origins."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from uvicorn.config import STARTUP_FAILURE

import service.app
import service.engines
from service.app import create_app
from service.engines import Engine, EngineMissingError, EngineName, Precision, open_graph
from service.manifest import MODEL
from service.settings import Settings
from tests.conftest import serving
from tests.service.test_model_store import rewrite

ORIGIN = {"Origin": "https://example.org"}
LENGTH = "Inference-Header-Content-Length"
READABLE = {
    "cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"
}  # fmt: skip
"""what the Fetch standard lets every page read (section 2.2.6)"""


@pytest.fixture
async def open_to_a_page(artifacts: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(artifacts, cors_origins=[ORIGIN["Origin"]]) as client:
        yield client


def preflight(method: str) -> dict[str, str]:
    return {**ORIGIN, "Access-Control-Request-Method": method}


async def test_test_images_that_are_missing_are_told_at_the_start(
    artifacts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(artifacts / "datasets" / "cifar10")
    async with serving(artifacts) as client:
        answer = await client.get("/samples/cifar10/0")
    assert "there are those of mnist" in answer.json()["detail"]
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [one for one in told if "test images" in one] == [
        "there are no test images of cifar10: its samples, hard examples and feature maps of samples are not served"
    ]


class InBfloat16:
    """An engine that says so."""

    precision: Precision = "bfloat16"

    def __init__(self, engine: Engine) -> None:
        self.name, self.outputs, self.run = engine.name, engine.outputs, engine.run


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, Any]]]:
    """The graphs that are opened: of which file, with which engine, and what it is told. ONNX Runtime opens them."""
    noted = list[tuple[str, str, dict[str, Any]]]()

    def note(graph: Path, name: EngineName, **told: Any) -> Engine:
        noted.append((graph.name, name, told))
        return InBfloat16(open_graph(graph, "onnxruntime", threads=1))

    monkeypatch.setattr(service.app, "open_graph", note)
    return noted


@pytest.mark.parametrize(("changed", "precision"), [(1, "bfloat16"), (2, "float32"), (None, "float32")])
async def test_a_graph_is_opened_with_the_workers_share_of_the_threads_and_in_the_models_precision(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, opened: list[Any], changed: int | None, precision: str
) -> None:
    monkeypatch.setattr(service.engines, "has_tiles", lambda: True)
    measured = {"images": 1000, "labels_changed": changed, "correct_changed": 0}
    rewrite(artifacts / "models" / "stripes" / "1", bfloat16=None if changed is None else measured)
    shutil.rmtree(artifacts / "models" / "stripes-colour")
    async with serving(artifacts, engine_threads=6, workers=2, keep_open="none") as client:
        engine = (await client.get("/models/stripes")).json()["engine"]
    assert opened == [(MODEL, "onnxruntime", {"threads": 3, "precision": precision})]
    assert engine == {"name": "onnxruntime", "precision": "bfloat16"}


def test_feature_maps_are_of_onnx_runtime_whatever_predicts(artifacts: Path, opened: list[Any]) -> None:
    settings = Settings(artifacts=artifacts, engine="openvino", engine_threads=6)
    maps = create_app(settings).state.service.feature_maps
    maps._open_engine(artifacts / "models" / "stripes" / "1" / MODEL)
    assert opened == [(MODEL, "onnxruntime", {"threads": 1})]


async def test_tensorflows_models_which_take_seconds_to_open_stay_open(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, opened: list[Any]
) -> None:
    monkeypatch.setattr(service.app, "load", lambda _: "tensorflow")
    store = create_app(Settings(artifacts=artifacts, keep_open="none")).state.service.store
    models = (await store.reload()).all()
    assert {type(model.engine) for model in models} == {InBfloat16}
    assert {name for _, name, _ in opened} == {"tensorflow"}


def test_an_engine_that_does_not_work_ends_the_start_in_one_line(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: EngineName) -> None:
        raise EngineMissingError("it is broken")

    monkeypatch.setattr(service.app, "load", fails)
    settings = Settings(artifacts=artifacts, engine="onnxruntime")
    with pytest.raises(EngineMissingError):
        create_app(settings)
    with pytest.raises(SystemExit) as raised:
        create_app(settings, owns_process=True)
    assert raised.value.code == STARTUP_FAILURE
    told = capsys.readouterr().err
    assert told == "the settings cannot be used: CONVSCOPE_ENGINE=onnxruntime: it is broken\n"


async def test_other_origins_are_let_in_only_when_set(
    client: httpx.AsyncClient, open_to_a_page: httpx.AsyncClient
) -> None:
    assert "access-control-allow-origin" not in (await client.get("/models", headers=ORIGIN)).headers
    allowed = (await open_to_a_page.get("/models", headers=ORIGIN)).headers["access-control-allow-origin"]
    assert allowed == ORIGIN["Origin"]


async def test_a_page_may_use_the_methods_there_are(open_to_a_page: httpx.AsyncClient) -> None:
    answer = await open_to_a_page.options("/predict/mnist", headers=preflight("POST"))
    assert (answer.status_code, answer.headers["access-control-allow-methods"]) == (200, "GET, HEAD, POST")
    assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
    refused = await open_to_a_page.options("/predict/mnist", headers=preflight("DELETE"))
    assert refused.status_code == 400


async def test_a_page_may_read_what_answers_say_of_themselves(tmp_path: Path, artifacts: Path) -> None:
    pixels, raw = bytes(28 * 28), {LENGTH: "0"}
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    async with serving(artifacts, cors_origins=["*"]) as full, serving(nothing, cors_origins=["*"]) as empty:
        answers = [
            await full.post("/v2/models/mnist/infer", content=pixels, headers=raw | ORIGIN),
            await full.get("/predict/mnist", headers=ORIGIN),
            await full.get("/samples/mnist/0", headers=ORIGIN),
            await empty.get("/health/ready", headers=ORIGIN),
        ]
    needed = {"retry-after", "allow", LENGTH.lower()}
    assert needed <= {name for answer in answers for name in answer.headers}
    for answer in answers:
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        own = {name for name in answer.headers if not name.startswith("access-control-")} - {"vary"}
        assert own <= READABLE.union(exposed), answer.url
