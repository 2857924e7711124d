"""POST /predict/…"""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import TypeAdapter

from service import schemas
from tests.conftest import serving
from tests.service.stripes import encoded, stripe

AS_IT_IS = {"preprocess": "none"}


async def predict(client: httpx.AsyncClient, body: bytes, path: str = "/predict/mnist", **query: Any) -> Any:
    answer = await client.post(
        path, content=body, params=AS_IT_IS | query, headers={"Content-Type": "image/png"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("digit", range(10))
async def test_a_digit_is_named(client: httpx.AsyncClient, digit: int) -> None:
    body = await predict(client, encoded(stripe(digit)))
    assert (body["label"], body["index"]) == (str(digit), digit)


async def test_the_answer_follows_its_schema(client: httpx.AsyncClient) -> None:
    body = await predict(client, encoded(stripe(7)), include="input")
    TypeAdapter(schemas.Prediction).validate_python(body, strict=True, extra="forbid")
    assert body["model"] == "stripes"
    assert body["version"] == "1"
    assert body["top"][0] == {"label": "7", "index": 7, "probability": body["probability"]}
    assert body["margin"] == pytest.approx(body["top"][0]["probability"] - body["top"][1]["probability"])
    assert body["preprocessing"]["steps"] == ["used as it is (preprocess=none)"]
    assert body["warnings"] == []


async def test_input_is_what_the_net_saw(client: httpx.AsyncClient) -> None:
    grey = await predict(client, encoded(stripe(7)), include="input")
    assert grey["input"] == stripe(7)[..., 0].tolist()
    colour = await predict(client, encoded(stripe(7, "cifar10")), "/predict/cifar10", include="input")
    assert colour["input"] == stripe(7, "cifar10").tolist()


async def test_input_comes_only_when_asked_for(client: httpx.AsyncClient) -> None:
    assert "input" not in await predict(client, encoded(stripe(7)))


async def test_two_likely_classes_are_a_warning(client: httpx.AsyncClient) -> None:
    body = await predict(client, encoded(np.maximum(stripe(4), stripe(9))))
    assert body["warnings"] == ["hesitates between 4 and 9"]
    assert body["margin"] < 0.01


@pytest.mark.parametrize("count", [1, 3, 10])
async def test_top_has_as_many_classes_as_asked(client: httpx.AsyncClient, count: int) -> None:
    body = await predict(client, encoded(stripe(7)), top_k=count)
    probabilities = [one["probability"] for one in body["top"]]
    assert len(probabilities) == count
    assert probabilities == sorted(probabilities, reverse=True)


async def test_top_k_gives_the_ranking_only(client: httpx.AsyncClient) -> None:
    body = await predict(client, encoded(stripe(7)), "/predict/mnist/top-k", k=2)
    TypeAdapter(schemas.TopK).validate_python(body, strict=True, extra="forbid")
    assert set(body) == {"model", "version", "top"}
    assert len(body["top"]) == 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
async def test_every_format_is_read(client: httpx.AsyncClient, kind: str) -> None:
    assert (await predict(client, encoded(stripe(3), kind)))["label"] == "3"


@pytest.mark.parametrize("content_type", ["image/png", "image/anything", "application/octet-stream", None])
async def test_a_raw_body_is_read_whatever_image_type_it_claims(
    client: httpx.AsyncClient, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await client.post("/predict/mnist", content=encoded(stripe(3)), params=AS_IT_IS, headers=headers)
    assert answer.json()["label"] == "3"


async def test_a_form_gives_the_same_answer_as_the_raw_body(client: httpx.AsyncClient) -> None:
    image = encoded(stripe(3))
    form = await client.post("/predict/mnist", files={"file": ("a.png", image, "image/png")}, params=AS_IT_IS)
    assert form.json() == await predict(client, image)


async def test_a_large_image_is_answered_too(client: httpx.AsyncClient) -> None:
    large = np.kron(stripe(3, "cifar10"), np.ones((30, 30, 1), np.uint8))
    answer = await client.post("/predict/cifar10", content=encoded(large))
    assert answer.json()["label"] == "class-3"


async def test_a_version_can_be_named(client: httpx.AsyncClient) -> None:
    assert (await predict(client, encoded(stripe(3)), version="1"))["version"] == "1"


async def test_a_batch_answers_in_order_and_one_bad_image_fails_no_other(client: httpx.AsyncClient) -> None:
    files = [("files", (f"{n}.png", encoded(stripe(n % 10)), "image/png")) for n in range(150)]
    files[77] = ("files", ("note.txt", b"hello", "text/plain"))
    files[78] = ("files", ("empty.png", b"", "image/png"))
    answer = await client.post("/predict/mnist/batch", files=files, params=AS_IT_IS)
    body = answer.json()
    TypeAdapter(schemas.BatchPrediction).validate_python(body, strict=True)
    assert [one["file"] for one in body["results"]] == [name for _, (name, _, _) in files]
    for number, result in enumerate(body["results"]):
        if number in (77, 78):
            assert result["problem"]["type"] == "/problems/not-an-image"
            assert result["problem"]["status"] == 415
        else:
            assert result["index"] == number % 10
            assert len(result["top"]) == 3


@pytest.mark.parametrize("files", [1, 8])
@pytest.mark.parametrize("count", [1, 3, 10])
async def test_a_batch_says_of_each_image_what_is_said_of_it_alone(
    client: httpx.AsyncClient, files: int, count: int
) -> None:
    image = encoded(np.maximum(stripe(4), stripe(9)))
    alone = await predict(client, image, top_k=count)
    answer = await client.post(
        "/predict/mnist/batch",
        files=[("files", ("a.png", image))] * files,
        params=AS_IT_IS | {"top_k": count},
    )
    results = answer.json()["results"]
    assert len(results) == files
    for result in results:
        assert result["warnings"] == ["hesitates between 4 and 9"] == alone["warnings"]
        assert [one["index"] for one in result["top"]] == [one["index"] for one in alone["top"]]
        assert result["entropy"] == pytest.approx(alone["entropy"], abs=1e-5)


async def test_a_problem_within_a_batch_names_the_path_as_it_came(client: httpx.AsyncClient) -> None:
    path = "/predict/%6Dnist/batch"
    answer = await client.post(path, files=[("files", ("a", b"x"))])
    assert [one["problem"]["instance"] for one in answer.json()["results"]] == [path]


async def test_a_batch_of_only_bad_images_is_answered(client: httpx.AsyncClient) -> None:
    answer = await client.post("/predict/mnist/batch", files=[("files", ("a", b"x")), ("files", ("b", b"y"))])
    assert [one["problem"]["status"] for one in answer.json()["results"]] == [415, 415]


async def test_a_thousand_images_may_come_at_once(client: httpx.AsyncClient) -> None:
    image = encoded(stripe(6))
    answer = await client.post(
        "/predict/mnist/batch", files=[("files", ("a.png", image))] * 1000, params=AS_IT_IS
    )
    assert [one["label"] for one in answer.json()["results"]] == ["6"] * 1000


async def test_a_batch_has_a_limit_of_bytes_of_its_own(artifacts: Path) -> None:
    files = [("files", ("a.png", encoded(stripe(3))))] * 2
    for limits, status in (({"max_body_bytes": 100}, 200), ({"max_batch_bytes": 100}, 413)):
        async with serving(artifacts, **limits) as client:
            answer = await client.post("/predict/mnist/batch", files=files, params=AS_IT_IS)
        assert answer.status_code == status


async def test_too_many_images_are_refused(artifacts: Path) -> None:
    async with serving(artifacts, max_batch_files=2) as client:
        answer = await client.post("/predict/mnist/batch", files=[("files", ("a.png", b"x"))] * 3)
    assert answer.status_code == 422
    assert "at most 2" in answer.json()["detail"]
