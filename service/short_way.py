"""Takes a request about one image straight to its endpoint, past the router and what else stands before it.

Router and exception middleware take a tenth of a prediction, and three quarters of a refusal; an overloaded service
refuses more than it answers, so what a refusal costs is taken from the answers.
"""

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Problem, QueueFull, answer
from service.model_store import ModelStore

PARAMETER = "{model}"


class Ways:
    """The routes of one image for one model, found by a path, and whether the model takes an image more."""

    def __init__(self, store: ModelStore, routes: Mapping[str, Route]) -> None:
        """`routes` by the template of their path; the application has them too, and documents them."""
        self._store = store
        self._ways: dict[str, dict[str, Route]] = {}
        """what stands before the model's name → what stands after it → the route"""
        for path, route in routes.items():
            before, after = path.split(PARAMETER)
            self._ways.setdefault(before, {})[after] = route

    def find(self, scope: Mapping[str, Any]) -> tuple[Route, str] | None:
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

    def refusal(self, scope: Mapping[str, Any], name: str) -> QueueFull | None:
        """Why the model cannot take this request's image now, if it cannot."""
        # Another version has a queue of its own: that is the endpoint's to find out.
        model = None if b"version" in scope["query_string"] else self._store.snapshot.get(name)
        return None if model is None else model.refusal()


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
            await self._handle(*found, scope, receive, send)

    async def _handle(self, route: Route, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """As router and exception middleware do; what nobody foresaw is for whoever stands before this."""
        scope["route"], scope["path_params"] = route, {"model": name}
        try:
            refused = self._ways.refusal(scope, name)
            if refused is not None:
                raise refused
            await route.handle(scope, receive, send)
        except (Problem, HTTPException, RequestValidationError, ClientDisconnect) as error:
            response = await answer(Request(scope), error)
            await response(scope, receive, send)
