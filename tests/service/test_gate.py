"""Over the gate alone: what it refuses never reaches what stands behind it."""

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.errors import QueueFull
from service.gate import Gate

ROUTES = {"/predict/{model}": "one", "/predict/{model}/top-k": "top-k"}


class Queue:
    """A model whose queue is full."""

    def refuse_if_full(self) -> None:
        raise QueueFull("7 images wait already")


class Room:
    """A model with room in its queue."""

    def refuse_if_full(self) -> None:
        """Never."""


async def passed_through(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})


async def asked(path: str, *, method: str = "POST", query: bytes = b"") -> tuple[int, Scope]:
    """The status, and what the scope is then."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("the body was asked for")

    models: dict[str, Any] = {"full": Queue(), "idle": Room()}
    store: Any = SimpleNamespace(snapshot=models)
    routes: Any = ROUTES
    scope: Scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": []}
    await Gate(passed_through, store, routes)(scope, receive, send)
    return sent[0]["status"], scope


@pytest.mark.parametrize("path", ["/predict/full", "/predict/full/top-k"])
async def test_a_full_queue_refuses_by_the_path_alone(path: str) -> None:
    status, scope = await asked(path, query=b"top_k=3")
    assert status == 503
    assert scope["route"] == ROUTES[path.replace("full", "{model}")]


@pytest.mark.parametrize(
    "path",
    [
        "/predict/idle",
        "/predict/none",
        "/predict/",
        "/predict/full/batch",
        "/predict/full/",
        "/models/full",
        "/",
    ],
)
async def test_everything_else_passes(path: str) -> None:
    assert (await asked(path))[0] == 299


async def test_another_method_passes() -> None:
    assert (await asked("/predict/full", method="GET"))[0] == 299


async def test_a_version_has_a_queue_of_its_own_so_it_passes() -> None:
    assert (await asked("/predict/full", query=b"version=1"))[0] == 299
