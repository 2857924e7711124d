"""Takes a request about one image straight to its endpoint, past the router and what else stands before it.

Router and exception middleware take a tenth of a prediction. `service.gate` goes further where the server lets it.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Problem, answer
from service.model import Model
from service.model_store import ModelStore
from service.routes.direct import DirectRoute

PARAMETER = "{model}"


class Ways:
    """The routes of one image for one model, found by a path, and the model."""

    def __init__(self, store: ModelStore, routes: Mapping[str, DirectRoute]) -> None:
        """`routes` by the template of their path; the application has them too, and documents them."""
        self._store = store
        self._ways: dict[str, dict[str, DirectRoute]] = {}
        """what stands before the model's name → what stands after it → the route"""
        for path, route in routes.items():
            before, after = path.split(PARAMETER)
            self._ways.setdefault(before, {})[after] = route

    def find(self, scope: Mapping[str, Any]) -> tuple[DirectRoute, str] | None:
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

    def model(self, scope: Mapping[str, Any], name: str) -> Model | None:
        """The model that a request is about; None where its endpoint has to find out."""
        # Another version has a queue of its own.
        return None if b"version" in scope["query_string"] else self._store.snapshot.get(name)

    async def respond(self, route: DirectRoute, name: str, scope: Scope, receive: Receive) -> Response:
        """As router and exception middleware do; what nobody foresaw is for whoever stands before this."""
        scope["route"], scope["path_params"] = route, {"model": name}
        request = Request(scope, receive)
        try:
            return await route.respond(request, name)
        except (Problem, HTTPException, RequestValidationError, ClientDisconnect) as error:
            response = await answer(request, error)
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
