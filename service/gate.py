"""Requests about one image as a server may hand them over: hardly a task for a refusal, no middleware for an answer.

An overloaded service refuses more than it answers, and what a refusal costs is taken from the answers: a task and a
response's way back through the middleware cost more than parsing the request. An answer takes two writes to its
socket that way, which are a twentieth of a digit's time.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

from fastapi import FastAPI, Response
from starlette.types import Receive, Scope

from service.batcher import CallerGoneError
from service.errors import InternalError, Problem, problem_response
from service.metrics import CLIENT_GONE, Metrics
from service.model import Model
from service.routes.direct import DirectRoute
from service.short_way import Ways

log = logging.getLogger("convscope")


Refuse = Callable[[Response, float], None]
"""is given the answer, and the seconds for which the client need not be heard again"""


class _Entrant(NamedTuple):
    route: DirectRoute
    scope: Scope
    refuse: Refuse


class Gate:
    """Knows no server: `service.protocol` asks it. Counts what it answers, as `middleware.Observer` does elsewhere."""

    def __init__(self, app: FastAPI, ways: Ways, metrics: Metrics) -> None:
        self._app = app
        self._ways = ways
        self._metrics = metrics
        self._entrants: dict[Model, deque[_Entrant]] = {}
        """those that flooded models let in since the loop's turn began"""

    def find(self, scope: Scope) -> tuple[DirectRoute, str] | None:
        """The route of a request about one image, and the model's name; None for what the application answers."""
        return self._ways.find(scope)

    def admit(self, route: DirectRoute, name: str, scope: Scope, refuse: Refuse) -> bool:
        """Whether a request is let in, to be answered in the loop's next turn.

        `refuse` is called if it is not; or before that turn, if it was. Of all that a flooded model
        finds waiting after a run it takes the latest: the first to come would be late by a run already.
        """
        model = self._ways.model(scope, name)
        if model is None:
            return True
        problem = model.admit_coming()  # the endpoint would find the same problem, later
        if problem is None and not model.overloaded:
            return True
        last = _Entrant(route, scope, refuse)
        if problem is None:
            self._let_in(model).append(last)
            return True
        entrants = self._entrants.get(model)
        if not entrants:
            self._refuse(last, problem, model.rest)
            return False
        entrants.append(last)
        self._refuse(entrants.popleft(), problem, model.rest)
        return True

    def _let_in(self, model: Model) -> deque[_Entrant]:
        if not self._entrants:
            asyncio.get_running_loop().call_soon(self._entrants.clear)
        return self._entrants.setdefault(model, deque())

    def _refuse(self, one: _Entrant, problem: Problem, rest: float) -> None:
        self._metrics.request(one.route.path, one.scope["method"], problem.status, 0.0)
        one.refuse(problem_response(one.scope["path"], problem), rest)

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
