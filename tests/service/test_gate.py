"""The gate alone: what it refuses reaches no endpoint, and what it answers is counted."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from starlette.types import Message, Scope

from service.batcher import CallerGoneError
from service.errors import QueueFull
from service.gate import Gate
from service.metrics import Metrics
from service.short_way import Ways

ROUTE = "/predict/{model}"


class Full:
    """A model whose queue is full."""

    def refusal(self) -> QueueFull:
        return QueueFull("7 images wait already")


class Idle:
    """A model with room in its queue."""

    def refusal(self) -> None:
        """None."""


class Endpoint:
    """A route that answers 200, or fails."""

    path = ROUTE

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def respond(self, request: Request, model: str) -> Response:
        assert request.app is APP
        if self.error is not None:
            raise self.error
        return Response(model)


APP = FastAPI()


class Entrance:
    """A gate before two models and one endpoint."""

    def __init__(self) -> None:
        self.endpoint, self.metrics = Endpoint(), Metrics()
        store: Any = SimpleNamespace(snapshot={"full": Full(), "idle": Idle()})
        routes: Any = {ROUTE: self.endpoint}
        self.gate = Gate(APP, Ways(store, routes), self.metrics)

    def refusal(self, path: str, query: bytes = b"") -> Response | None:
        scope = scope_of(path, query)
        found = self.gate.find(scope)
        assert found is not None
        return self.gate.refusal(*found, scope)

    async def answer(self, path: str) -> Response | None:
        scope = scope_of(path)
        found = self.gate.find(scope)
        assert found is not None
        return await self.gate.answer(*found, scope, _no_body)

    def counted(self, status: int) -> bool:
        return f'route="{ROUTE}",method="POST",status="{status}"}} 1' in self.metrics.text({})


def scope_of(path: str, query: bytes = b"") -> Scope:
    return {"type": "http", "method": "POST", "path": path, "query_string": query, "headers": []}


async def _no_body() -> Message:
    raise AssertionError("the body was asked for")


@pytest.fixture
def entrance() -> Entrance:
    return Entrance()


def test_a_full_queue_refuses_and_counts_it(entrance: Entrance) -> None:
    refused = entrance.refusal("/predict/full", b"top_k=3")
    assert refused is not None
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert entrance.counted(503)


@pytest.mark.parametrize(
    ("path", "query"), [("/predict/idle", b""), ("/predict/nobody", b""), ("/predict/full", b"version=1")]
)
def test_what_may_have_room_is_not_refused(entrance: Entrance, path: str, query: bytes) -> None:
    assert entrance.refusal(path, query) is None


@pytest.mark.parametrize("path", ["/", "/models/full", "/predict/full/batch"])
def test_other_requests_are_the_applications(entrance: Entrance, path: str) -> None:
    assert entrance.gate.find(scope_of(path)) is None


async def test_an_answer_is_the_endpoints_and_is_counted(entrance: Entrance) -> None:
    answer = await entrance.answer("/predict/idle")
    assert answer is not None
    assert (answer.status_code, answer.body) == (200, b"idle")
    assert entrance.counted(200)


async def test_what_nobody_foresaw_is_logged_and_not_told(
    entrance: Entrance, caplog: pytest.LogCaptureFixture
) -> None:
    entrance.endpoint.error = ZeroDivisionError("secret")
    answer = await entrance.answer("/predict/idle")
    assert answer is not None
    assert (answer.status_code, b"secret" in answer.body) == (500, False)
    assert "secret" in caplog.text
    assert entrance.counted(500)


async def test_who_has_left_is_counted_and_not_answered(entrance: Entrance) -> None:
    entrance.endpoint.error = CallerGoneError()
    assert await entrance.answer("/predict/idle") is None
    assert entrance.counted(499)
