"""The models of artifacts/ through the whole service, on the real test images."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import pytest_asyncio

from service.manifest import MANIFEST, TEST_PROBABILITIES
from service.routes import examples
from service.settings import ROOT
from tests.conftest import serving

ARTIFACTS = ROOT / "artifacts"
FOLDERS = sorted(path.parent for path in ARTIFACTS.glob(f"models/*/*/{MANIFEST}"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shipped() -> AsyncIterator[httpx.AsyncClient]:
    async with serving(ARTIFACTS) as client:
        yield client


@pytest.mark.asyncio(loop_scope="module")
async def test_every_shipped_folder_is_served_and_each_data_set_has_its_alias(
    shipped: httpx.AsyncClient,
) -> None:
    body = (await shipped.get("/models")).json()
    assert body["refused"] == []
    assert {one["name"] for one in body["models"]} == {folder.parent.name for folder in FOLDERS}
    aliases = {alias: one["dataset"] for one in body["models"] for alias in one["aliases"]}
    assert aliases == {"mnist": "mnist", "cifar10": "cifar10"}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
async def test_answers_are_the_exported_graphs_own(shipped: httpx.AsyncClient, folder: Path) -> None:
    """A hundred test images as PNG files: the same label, and probabilities within 1e-4."""
    manifest = json.loads((folder / MANIFEST).read_text())
    expected = np.load(folder / TEST_PROBABILITIES)[:100]
    path = f"/samples/{manifest['dataset']}"
    files = [("files", (str(n), (await shipped.get(f"{path}/{n}")).content, "image/png")) for n in range(100)]
    url = f"/predict/{folder.parent.name}/batch"
    body = (await shipped.post(url, files=files, params={"top_k": 10, "version": folder.name})).json()
    served = np.zeros((100, 10))
    for row, result in zip(served, body["results"], strict=True):
        for one in result["top"]:
            row[one["index"]] = one["probability"]
    assert np.array_equal(served.argmax(axis=1), expected.argmax(axis=1))
    assert np.abs(served - expected).max() < 1e-4


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("suffix", "example"),
    [("", examples.PREDICTION), ("/top-k?k=2", examples.TOP_K)],
    ids=["prediction", "top-k"],
)
async def test_documented_predictions_are_real(
    shipped: httpx.AsyncClient, suffix: str, example: dict[str, object]
) -> None:
    image = (await shipped.get("/samples/mnist/0")).content
    body = (await shipped.post(f"/predict/mnist-baseline{suffix}", content=image)).json()
    # The least digits depend on the processor's own arithmetic.
    assert _rounded(body) == _rounded(example)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("path", "example"),
    [("/models/mnist-baseline/layers", examples.LAYERS), ("/samples/mnist/0?format=json", examples.SAMPLE)],
    ids=["layers", "sample"],
)
async def test_documented_descriptions_are_real(
    shipped: httpx.AsyncClient, path: str, example: dict[str, object]
) -> None:
    assert (await shipped.get(path)).json() == example


@pytest.mark.asyncio(loop_scope="module")
async def test_documented_models_are_real(shipped: httpx.AsyncClient) -> None:
    model = (await shipped.get("/models/mnist-baseline")).json()
    assert model | {"engine": examples.MODEL["engine"]} == examples.MODEL  # another may be installed here
    listed = {one["name"]: one for one in (await shipped.get("/models")).json()["models"]}
    for one in examples.MODELS["models"]:
        assert listed[one["name"]] == one
    ready = (await shipped.get("/openapi.json")).json()["paths"]["/health/ready"]["get"]["responses"]["200"]
    assert (await shipped.get("/health/ready")).json() == ready["content"]["application/json"]["example"]


def _rounded(value: object) -> object:
    match value:
        case float():
            return round(value, 4)
        case dict():
            return {key: _rounded(one) for key, one in value.items()}
        case list():
            return [_rounded(one) for one in value]
    return value
