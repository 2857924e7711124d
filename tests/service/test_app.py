"""What the whole service says at its start, and does for pages of other origins."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import serving

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
