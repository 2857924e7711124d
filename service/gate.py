"""Refuses an image before anything else is done for it, where its model's queue is full.

An overloaded service refuses more than it answers, so what a refusal costs is taken from the answers. Here it
costs a look at the path; behind the router and the endpoint it cost three times as much.
"""

from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import QueueFull, problem_response
from service.model_store import ModelStore


class Gate:
    """Plain ASGI. `routes` are those of one image for one model, by the template of their path."""

    def __init__(self, app: ASGIApp, store: ModelStore, routes: dict[str, BaseRoute]) -> None:
        self._app = app
        self._store = store
        # "/predict/{model}/top-k": what stands before the model and after it.
        self._routes = {tuple(path.split("{model}")): route for path, route in routes.items()}
        self._prefixes = tuple({before for before, _ in self._routes})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            refused = self._refused(scope)
            if refused is not None:
                await problem_response(Request(scope), refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refused(self, scope: Scope) -> QueueFull | None:
        """Why not, where that can be told from the head alone; all else is the endpoint's to find out."""
        path: str = scope["path"]
        if not path.startswith(self._prefixes) or scope["query_string"].find(b"version") >= 0:
            return None
        before = next(prefix for prefix in self._prefixes if path.startswith(prefix))
        name, slash, after = path[len(before) :].partition("/")
        route = self._routes.get((before, slash + after))
        model = None if route is None else self._store.snapshot.get(name)
        if model is None:
            return None
        try:
            model.refuse_if_full()
        except QueueFull as full:
            scope["route"] = route  # for whoever counts requests by route
            return full
        return None
