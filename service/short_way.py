"""Takes a request about one image straight to its endpoint, past the router and what else stands before it.

Router and exception middleware take a tenth of a prediction, and three quarters of a refusal; an overloaded service
refuses more than it answers, so what a refusal costs is taken from the answers.
"""

from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Problem, answer
from service.model_store import ModelStore

PARAMETER = "{model}"


class ShortWay:
    """Plain ASGI. `routes` are those of one image for one model, by the template of their path; the application has
    them too, and documents them."""

    def __init__(self, app: ASGIApp, store: ModelStore, routes: Mapping[str, Route]) -> None:
        self._app = app
        self._store = store
        self._ways: dict[str, dict[str, Route]] = {}
        """what stands before the model's name → what stands after it → the route"""
        for path, route in routes.items():
            before, after = path.split(PARAMETER)
            self._ways.setdefault(before, {})[after] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"]
            for before, routes in self._ways.items():
                if path.startswith(before):
                    name, slash, rest = path[len(before) :].partition("/")
                    route = routes.get(slash + rest)
                    if name and route is not None:
                        await self._handle(route, name, scope, receive, send)
                        return
        await self._app(scope, receive, send)

    async def _handle(self, route: Route, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """As router and exception middleware do; what nobody foresaw is for whoever stands before this."""
        scope["route"], scope["path_params"] = route, {"model": name}
        try:
            # Another version has a queue of its own: that is the endpoint's to find out.
            model = None if b"version" in scope["query_string"] else self._store.snapshot.get(name)
            if model is not None:
                model.refuse_if_full()
            await route.handle(scope, receive, send)
        except (Problem, HTTPException, RequestValidationError, ClientDisconnect) as error:
            response = await answer(Request(scope), error)
            await response(scope, receive, send)
