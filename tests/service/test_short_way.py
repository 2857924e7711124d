"""The short way alone: it takes what is about one image of one model, and leaves the rest to the long way."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.types import Message, Receive, Scope, Send

from service.errors import QueueFull, UnknownModel
from service.short_way import ShortWay, Ways


class Endpoint:
    """A route that answers 200, or fails."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def respond(self, _: Request, model: str) -> Response:
        if self.error is not None:
            raise self.error
        return Response(model)


class Asked:
    """One request and what became of it."""

    def __init__(self, path: str, *, method: str = "POST", query: bytes = b"") -> None:
        self.one, self.top_k, self.many = Endpoint(), Endpoint(), Endpoint()
        self.scope: Scope = {
            "type": "http", "method": method, "path": path, "query_string": query, "headers": []
        }  # fmt: skip

    async def status(self) -> int:
        """299 where the long way was taken."""
        store: Any = SimpleNamespace(snapshot={})
        routes: Any = {"/predict/{model}": self.one, "/predict/{model}/top-k": self.top_k}
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        many: Any = {"/v2/models/{model}/infer": self.many}
        await ShortWay(_long_way, Ways(store, routes, many))(self.scope, _no_body, send)
        status: int = sent[0]["status"]
        return status


async def _long_way(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})


async def _no_body() -> Message:
    raise AssertionError("the body was asked for")


@pytest.mark.parametrize("path", ["/predict/idle", "/predict/none"])
async def test_the_endpoint_is_given_the_name_and_the_route_is_known_to_whoever_counts(path: str) -> None:
    asked = Asked(path)
    assert await asked.status() == 200
    assert asked.scope["path_params"] == {"model": path.rpartition("/")[2]}
    assert asked.scope["route"] is asked.one


async def test_a_path_may_go_on_after_the_name() -> None:
    asked = Asked("/v2/models/idle/infer")
    assert await asked.status() == 200
    assert asked.scope["path_params"] == {"model": "idle"}
    assert asked.scope["route"] is asked.many


@pytest.mark.parametrize(
    ("error", "status"),
    [(UnknownModel("no"), 404), (RequestValidationError([]), 422), (QueueFull("7 images wait"), 503)],
)
async def test_what_an_endpoint_raises_becomes_its_answer(error: Exception, status: int) -> None:
    asked = Asked("/predict/idle")
    asked.one.error = error
    assert await asked.status() == status


async def test_what_nobody_foresaw_is_not_hidden() -> None:
    asked = Asked("/predict/idle")
    asked.one.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await asked.status()


@pytest.mark.parametrize(
    "path",
    ["/predict/", "/predict/full/batch", "/predict/full/", "/predict/full/top-k/", "/models/full", "/"],
)
async def test_everything_else_takes_the_long_way(path: str) -> None:
    assert await Asked(path).status() == 299


async def test_another_method_takes_the_long_way() -> None:
    assert await Asked("/predict/full", method="GET").status() == 299
