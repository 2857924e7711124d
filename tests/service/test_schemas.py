"""Parameters of queries that do not exist."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from tests.service.stripes import encoded, stripe

VALUES = {"model": "mnist", "dataset": "mnist", "index": "0", "layer": "conv2d"}


def with_query() -> list[tuple[str, str, list[str]]]:
    """Method, path and parameters of every operation that has some."""
    document: dict[str, Any] = create_app(Settings(artifacts=Path(__file__).parent)).openapi()
    found = [
        (method, path, [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return [one for one in found if one[2]]


@pytest.mark.parametrize(("method", "path", "names"), with_query())
async def test_a_misspelt_parameter_is_told_with_those_there_are(
    client: httpx.AsyncClient, method: str, path: str, names: list[str]
) -> None:
    body = encoded(stripe(7)) if method == "post" else None
    misspelt = {names[0]: "1", "vresion": "1"}
    answer = await client.request(method, path.format(**VALUES), params=misspelt, content=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-parameter")
    known = answer.json()["detail"].removeprefix("unknown parameter 'vresion'; known: ")
    assert sorted(known.split(", ")) == sorted(names)


@pytest.mark.parametrize(("method", "path", "names"), with_query())
async def test_a_parameter_that_is_given_twice_is_told(
    client: httpx.AsyncClient, method: str, path: str, names: list[str]
) -> None:
    body = encoded(stripe(7)) if method == "post" else None
    answer = await client.request(method, f"{path.format(**VALUES)}?{names[0]}=1&{names[0]}=1", content=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-parameter")
    assert answer.json()["detail"] == f"'{names[0]}' is given more than once"


async def test_of_several_parameters_only_the_one_that_is_given_twice_is_told(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/predict/mnist?fit=cover&top_k=1&top_k=2&version=1", content=b"")
    assert answer.json()["detail"] == "'top_k' is given more than once"


async def test_all_that_are_given_twice_are_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/predict/mnist?fit=cover&top_k=1&top_k=2&fit=cover", content=b"")
    assert answer.json()["detail"] == "'fit', 'top_k' are given more than once"


async def test_all_that_do_not_exist_are_named(client: httpx.AsyncClient) -> None:
    detail = (await client.get("/models/mnist?ver=1&format=json")).json()["detail"]
    assert detail == "unknown parameters 'ver', 'format'; known: version"


async def test_where_there_are_no_parameters_it_is_said(client: httpx.AsyncClient) -> None:
    detail = (await client.get("/models?version=1")).json()["detail"]
    assert detail == "unknown parameter 'version'; this path takes none"


async def test_of_thousands_of_names_some_are_told(client: httpx.AsyncClient) -> None:
    names = "&".join(f"{number:05}" for number in range(9000))
    for query, reason in ((names, "unknown parameters"), (f"{names}&{names[:11]}", "more than once")):
        answer = await client.get(f"/models/mnist?{query}")
        assert answer.status_code == 422
        assert reason in answer.json()["detail"]
        assert len(answer.json()["detail"]) < 300
