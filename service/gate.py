"""Requests about one image as a server may hand them over: no task for a refusal, no middleware for an answer.

An overloaded service refuses more than it answers, and what a refusal costs is taken from the answers: a task and a
response's way back through the middleware cost more than parsing the request. An answer takes two writes to its
socket that way, which are a twentieth of a digit's time.
"""

import logging
from time import perf_counter

from fastapi import FastAPI, Response
from starlette.types import Receive, Scope

from service.batcher import CallerGoneError
from service.errors import InternalError, problem_response
from service.metrics import CLIENT_GONE, Metrics
from service.routes.direct import DirectRoute
from service.short_way import Ways

log = logging.getLogger("convscope")


class Gate:
    """Knows no server: `service.protocol` asks it. Counts what it answers, as `middleware.Observer` does elsewhere."""

    def __init__(self, app: FastAPI, ways: Ways, metrics: Metrics) -> None:
        self._app = app
        self._ways = ways
        self._metrics = metrics

    def find(self, scope: Scope) -> tuple[DirectRoute, str] | None:
        """The route of a request about one image, and the model's name; None for what the application answers."""
        return self._ways.find(scope)

    def refusal(self, route: DirectRoute, name: str, scope: Scope) -> Response | None:
        """The answer to a request that would only be refused."""
        problem = self._ways.refusal(scope, name)
        if problem is None:
            return None
        self._metrics.request(route.path, scope["method"], problem.status, 0.0)
        return problem_response(scope["path"], problem)

    async def answer(self, route: DirectRoute, name: str, scope: Scope, receive: Receive) -> Response | None:
        """None where the client has left. Never raises: what nobody foresaw is logged, and an InternalError."""
        started = perf_counter()
        scope["app"] = self._app
        try:
            response = await self._ways.respond(route, name, scope, receive)
        except CallerGoneError:
            response = None
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            problem = InternalError("something failed inside the service; it is in the log")
            response = problem_response(scope["path"], problem)
        status = CLIENT_GONE if response is None else response.status_code
        self._metrics.request(route.path, scope["method"], status, perf_counter() - started)
        return response
