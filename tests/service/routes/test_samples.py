"""GET /samples/…"""

from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from service import schemas
from tests.service.stripes import SHAPES, stripe


@pytest.mark.parametrize("dataset", SHAPES)
async def test_a_sample_is_a_png_of_its_own_pixels(client: httpx.AsyncClient, dataset: str) -> None:
    answer = await client.get(f"/samples/{dataset}/3")
    assert answer.headers["Content-Type"] == "image/png"
    pixels = np.asarray(Image.open(BytesIO(answer.content)))
    assert np.array_equal(pixels, stripe(3, dataset).squeeze())


async def test_a_sample_as_json_has_label_and_pixels(client: httpx.AsyncClient) -> None:
    answer = await client.get("/samples/cifar10/3", headers={"Accept": "application/json"})
    TypeAdapter(schemas.Sample).validate_python(answer.json(), strict=True, extra="forbid")
    assert answer.json() == {
        "dataset": "cifar10", "index": 3, "label": "class-3", "class_index": 3, "shape": [32, 32, 3],
        "pixels": stripe(3, "cifar10").tolist(),
    }  # fmt: skip
    assert (await client.get("/samples/cifar10/3?format=json")).json() == answer.json()


@pytest.mark.parametrize("form", ["png", "json"])
async def test_a_sample_may_be_kept_and_which_form_it_has_depends_on_what_is_accepted(
    client: httpx.AsyncClient, form: str
) -> None:
    headers = (await client.get(f"/samples/mnist/3?format={form}")).headers
    assert (headers["Cache-Control"], headers["Vary"]) == ("public, max-age=86400", "Accept")


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        ("/samples/mnist/5", 404, "unknown-sample"),
        ("/samples/mnist/-1", 404, "unknown-sample"),
        ("/samples/mnist/1e3", 422, "invalid-parameter"),
        (f"/samples/mnist/{'9' * 5000}", 422, "invalid-parameter"),
        (f"/samples/mnist/{'9' * 50}", 404, "unknown-sample"),
        ("/samples/fashion/0", 404, "unknown-dataset"),
        ("/samples/..%2f..%2f/0", 404, "not-found"),
        ("/samples/%2e%2e/0", 404, "unknown-dataset"),
        ("/samples/mnist/0?format=xml", 406, "not-acceptable"),
    ],
)
async def test_what_is_not_there_is_a_problem(
    client: httpx.AsyncClient, path: str, status: int, slug: str
) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}")
