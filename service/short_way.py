"""Takes a prediction straight to its endpoint, past the router and what else stands before it.

Router and exception middleware take a tenth of one about one image, and a twentieth of one about 64 small ones as
tensors. `service.gate` goes further where the server lets it.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from fastapi import Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Problem
from service.model import Model
from service.model_store import ModelStore
from service.problem_responses import handle_error

PARAMETER = "{model}"


class HotRoute(Protocol):
    """A route of predictions by one model."""

    path: str
    """its template"""

    async def respond(self, request: Request, model: str) -> Response:
        """The endpoint's response, not yet sent."""


class Ways:
    """The routes of predictions by one model, found by a path, and the model."""

    def __init__(
        self, store: ModelStore, of_one: Mapping[str, HotRoute], of_many: Mapping[str, HotRoute]
    ) -> None:
        """Routes of one image and of many, by the template of their path; the application has them too, and
        documents them."""
        self._store = store
        self._of_one = frozenset(of_one)
        self._ways: dict[str, dict[str, HotRoute]] = {}
        """what stands before the model's name → what stands after it → the route"""
        for path, route in {**of_one, **of_many}.items():
            before, after = path.split(PARAMETER)
            self._ways.setdefault(before, {})[after] = route

    def find(self, scope: Mapping[str, Any]) -> tuple[HotRoute, str] | None:
        """The route of a request, and the model's name in its path; None for any other request."""
        if scope["method"] != "POST":
            return None
        path: str = scope["path"]
        for before, routes in self._ways.items():
            if path.startswith(before):
                name, slash, rest = path[len(before) :].partition("/")
                route = routes.get(slash + rest)
                if name and route is not None:
                    return route, name
        return None

    def model(self, route: HotRoute, scope: Mapping[str, Any], name: str) -> Model | None:
        """The model whose queue a request's one image would join; None where its endpoint has to find out."""
        # Another version has a queue of its own, and many images wait in a lane of their own.
        if route.path not in self._of_one or b"version" in scope["query_string"]:
            return None
        return self._store.snapshot.get(name)

    async def respond(self, route: HotRoute, name: str, scope: Scope, receive: Receive) -> Response:
        """As router and exception middleware do; what nobody foresaw is for whoever stands before this."""
        scope["route"], scope["path_params"] = route, {"model": name}
        request = Request(scope, receive)
        try:
            return await route.respond(request, name)
        except (Problem, HTTPException, RequestValidationError, ClientDisconnect) as error:
            response = await handle_error(request, error)
            # As Starlette does. The traceback holds the frames that the error passed: where one of them has the error
            # in a variable, they and the image stay until the garbage collector comes by.
            error.__traceback__ = None
            return response


class ShortWay:
    """Plain ASGI."""

    def __init__(self, app: ASGIApp, ways: Ways) -> None:
        self._app = app
        self._ways = ways

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._ways.find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
        else:
            response = await self._ways.respond(*found, scope, receive)
            await response(scope, receive, send)
