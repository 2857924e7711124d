"""The gate alone: what it refuses reaches no endpoint, and what it answers is counted."""

import re
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI, Request, Response
from starlette.types import Message, Scope

from service.callers import CallerGoneError
from service.errors import QueueFull
from service.gate import MOST_LINES, Gate
from service.metrics import Metrics
from service.short_way import Ways

ROUTE = "/predict/{model}"
MANY = f"{ROUTE}/batch"


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
    """A model that has been refusing most, until there is room."""

    rest = 0.25
    overloaded = True
    full = True
    waiting = 2

    def __init__(self) -> None:
        self.more = 0

    def count_refused(self, callers: int) -> None:
        self.more += callers

    def refusal(self) -> QueueFull | None:
        return QueueFull(f"{self.waiting} images wait already") if self.full else None

    admit_coming = refusal


class Endpoint:
    """A route that answers 200, or fails."""

    def __init__(self, path: str = ROUTE) -> None:
        self.path = path
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
        self.endpoint, self.metrics, self.flooded = Endpoint(), Metrics(), Flooded()
        self.models: dict[str, Any] = {"full": Full(), "idle": Idle(), "flooded": self.flooded}
        store: Any = SimpleNamespace(snapshot=self.models)
        routes: Any = {ROUTE: self.endpoint}
        many: Any = {MANY: Endpoint(MANY)}
        self.gate = Gate(APP, Ways(store, routes, many), self.metrics)

    def refusal(self, path: str, query: bytes = b"") -> Response | None:
        scope = scope_of(path, query)
        found = self.gate.find(scope)
        assert found is not None
        refused = self.gate.admit(*found, scope)
        return None if refused is None else refused.response

    async def answer(self, path: str) -> Response | None:
        scope = scope_of(path)
        found = self.gate.find(scope)
        assert found is not None
        return await self.gate.answer(*found, scope, _no_body)

    def counted(self, status: int, times: int = 1) -> bool:
        text = self.metrics.text({})
        return (
            f'route="{ROUTE}",method="POST",status="{status}"}} {times}\n' in text
            and f'convscope_request_seconds_count{{route="{ROUTE}"}} {times}\n' in text
        )


def scope_of(path: str, query: bytes = b"") -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [],
    }


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


LINE = b"POST /predict/flooded?top_k=3 HTTP/1.1"


def test_what_an_overloaded_model_refused_is_known_by_its_first_line(entrance: Entrance) -> None:
    assert entrance.gate.refusal(LINE) is None
    parsed = entrance.refusal("/predict/flooded", b"top_k=3")
    assert parsed is not None
    assert list(entrance.gate.turns_away) == [LINE]
    refused = entrance.gate.refusal(LINE)
    assert refused is not None
    assert (refused.response.body, refused.rest) == (parsed.body, 0.25)
    assert entrance.counted(503, times=2)
    refused.count_alike(3)
    assert (entrance.counted(503, times=5), entrance.flooded.more) == (True, 3)
    entrance.flooded.full = False
    assert entrance.gate.refusal(LINE) is None
    assert LINE in entrance.gate.turns_away
    entrance.flooded.full = True
    entrance.refusal("/predict/flooded")
    assert b"POST /predict/flooded HTTP/1.1" in entrance.gate.turns_away


@pytest.mark.parametrize("gone", [False, True])
def test_it_is_forgotten_when_the_flood_or_the_model_is_gone(entrance: Entrance, gone: bool) -> None:
    entrance.refusal("/predict/flooded", b"top_k=3")
    if gone:
        del entrance.models["flooded"]
    else:
        entrance.flooded.overloaded = False
    assert entrance.gate.refusal(LINE) is None
    assert not entrance.gate.turns_away


def test_many_images_are_for_their_endpoint_to_refuse(entrance: Entrance) -> None:
    assert entrance.refusal("/predict/full/batch") is None
    assert entrance.refusal("/predict/flooded/batch") is None
    assert not entrance.gate.turns_away


def test_refusals_are_made_anew_where_they_differ(entrance: Entrance) -> None:
    def refused(path: str) -> bytes:
        refusal = entrance.refusal(path)
        assert refusal is not None
        return bytes(refusal.body)

    first, other = refused("/predict/flooded"), refused("/predict/full")
    assert (b"2 images" in first, b"7 images" in other) == (True, True)
    entrance.flooded.waiting = 7
    changed = refused("/predict/flooded")
    assert (b"7 images" in changed, b"/predict/flooded" in changed) == (True, True)
    assert refused("/predict/flooded") == changed
    entrance.flooded.waiting = 8
    assert b"8 images" in refused("/predict/flooded")
    assert b'"/predict/%66looded"' in refused("/predict/%66looded")


def test_no_more_than_some_first_lines_are_remembered(entrance: Entrance) -> None:
    for number in range(3 * MOST_LINES):
        entrance.refusal("/predict/flooded", b"number=%d" % number)
    assert 0 < len(entrance.gate.turns_away) <= MOST_LINES
    entrance.gate.turns_away.clear()
    entrance.refusal("/predict/full")  # a queue that is full for a moment is no flood
    assert not entrance.gate.turns_away


@pytest.mark.parametrize("path", ["/", "/models/full", "/predict/full/samples"])
def test_other_requests_are_the_applications(entrance: Entrance, path: str) -> None:
    assert entrance.gate.find(scope_of(path)) is None


async def test_an_answer_is_the_endpoints_and_is_counted(entrance: Entrance) -> None:
    answer = await entrance.answer("/predict/idle")
    assert answer is not None
    assert (answer.status_code, answer.body) == (200, b"idle")
    assert entrance.counted(200)
    [seconds] = re.findall(r"convscope_request_seconds_sum\{.*\} (.*)", entrance.metrics.text({}))
    assert 0 < float(seconds) < 10


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
