"""The gate alone: what it refuses reaches no endpoint, and what it answers is counted."""

import asyncio
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

    def admit_coming(self) -> QueueFull:
        return QueueFull("7 images wait already")

    rest = 0.25
    overloaded = False


class Idle:
    """A model with room in its queue."""

    overloaded = False

    def admit_coming(self) -> None:
        """None."""


class Flooded:
    """A model that is refusing most, and takes two of each turn's."""

    rest = 0.25
    overloaded = True

    def __init__(self) -> None:
        self.room = 2

    def admit_coming(self) -> QueueFull | None:
        self.room -= 1
        return None if self.room >= 0 else QueueFull("2 images wait already")


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
        store: Any = SimpleNamespace(snapshot={"full": Full(), "idle": Idle(), "flooded": Flooded()})
        routes: Any = {ROUTE: self.endpoint}
        self.gate = Gate(APP, Ways(store, routes), self.metrics)

    def refusal(self, path: str, query: bytes = b"") -> Response | None:
        scope = scope_of(path, query)
        found = self.gate.find(scope)
        assert found is not None
        refusals: list[Response] = []
        let_in = self.gate.admit(*found, scope, lambda answer, rest: refusals.append(answer))
        assert let_in is not bool(refusals)
        return refusals[0] if refusals else None

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


async def test_a_flooded_model_takes_the_latest_of_a_turn(entrance: Entrance) -> None:
    refused: list[tuple[str, float]] = []

    def come(name: str) -> bool:
        scope = scope_of("/predict/flooded")
        found = entrance.gate.find(scope)
        assert found is not None
        return entrance.gate.admit(*found, scope, lambda answer, rest: refused.append((name, rest)))

    assert all([come("first"), come("second"), come("third"), come("fourth")])
    assert refused == [("first", 0.25), ("second", 0.25)]
    await asyncio.sleep(0)  # the third and the fourth are being answered now
    assert not come("fifth")
    assert refused[2:] == [("fifth", 0.25)]


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
