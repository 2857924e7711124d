"""Predictions as a server may hand them over: hardly a task for a refusal, no middleware for an answer.

An overloaded service refuses more than it answers, and what a refusal costs is taken from the answers: a task and a
response's way back through the middleware cost more than parsing the request. An answer takes two writes to its
socket that way, which are a twentieth of a digit's time.
"""

import asyncio
from functools import partial
from time import perf_counter
from typing import NamedTuple

from fastapi import FastAPI, Response
from starlette.types import Receive, Scope

from service.callers import CallerGoneError
from service.errors import Problem
from service.flood import Porch, Refusal, Rests
from service.metrics import CLIENT_GONE, Metrics
from service.model import Model
from service.problem_responses import problem_response, unforeseen
from service.short_way import HotRoute, Ways

MOST_LINES = 64  # of requests that are turned away by their first line alone


class _Way(NamedTuple):
    """Of a request that was refused."""

    route: HotRoute
    name: str
    scope: Scope


class Gate:
    """Knows no server: `service.gated_protocol` asks it. Counts what it answers, as `middleware.Observer` does
    elsewhere."""

    def __init__(self, app: FastAPI, ways: Ways, metrics: Metrics) -> None:
        self._app = app
        self._ways = ways
        self.find = ways.find
        """the route of a prediction, and the model's name; None for what the application answers"""
        self._metrics = metrics
        self.porch, self.rests = Porch(self.refusal), Rests()
        """of all connections of the server"""
        self.turns_away: dict[bytes, _Way] = {}
        """what overloaded models refused, by its first line: a server may ask `refusal` before it parses the like"""
        self._latest: tuple[bytes, str, Response] | None = None
        """path, detail and answer of the latest refusal: between two runs of a flood they are all the same"""

    def admit(self, route: HotRoute, name: str, scope: Scope) -> Refusal | None:
        """None for a request that is let in, to be answered in the loop's next turn."""
        model = self._ways.model(route, scope, name)
        problem = None if model is None else model.admit_coming()  # the endpoint would find it as well, later
        if model is None or problem is None:
            return None
        way = _Way(route, name, scope)
        if model.overloaded:
            self._turn_away(way)
        return self._refused(way, problem, model)

    def refusal(self, line: bytes) -> Refusal | None:
        """What a request is refused with, by its first line; None for one that has to be parsed to know, or let in."""
        way = self.turns_away.get(line)
        model = None if way is None else self._ways.model(way.route, way.scope, way.name)
        if way is None or model is None or not model.overloaded:
            self.turns_away.pop(line, None)
            return None
        problem = model.refusal()
        return None if problem is None else self._refused(way, problem, model)

    def _turn_away(self, way: _Way) -> None:
        if len(self.turns_away) >= MOST_LINES:
            self.turns_away.clear()
        query: bytes = way.scope["query_string"]
        target = way.scope["raw_path"] + (b"?" + query if query else b"")
        self.turns_away[b"POST %b HTTP/1.1" % target] = way

    def _refused(self, way: _Way, problem: Problem, model: Model) -> Refusal:
        self._count(way, problem)
        path: bytes = way.scope["raw_path"]
        if self._latest is None or self._latest[:2] != (path, problem.detail):
            self._latest = path, problem.detail, problem_response(way.scope, problem)
        return Refusal(self._latest[2], model.rest, partial(self._count_alike, way, problem, model))

    def _count_alike(self, way: _Way, problem: Problem, model: Model, times: int) -> None:
        self._count(way, problem, times)
        model.count_refused(times)

    def _count(self, way: _Way, problem: Problem, times: int = 1) -> None:
        self._metrics.request(way.route.path, "POST", problem.status, 0.0, times)

    async def answer(self, route: HotRoute, name: str, scope: Scope, receive: Receive) -> Response | None:
        """None where the client has left. Never raises: what nobody foresaw is logged, and an InternalError."""
        started = perf_counter()
        scope["app"] = self._app
        try:
            response = await self._ways.respond(route, name, scope, receive)
        except CallerGoneError as error:
            response = None
            error.forget()
        except (Exception, asyncio.CancelledError) as error:
            response = problem_response(scope, unforeseen(error, scope["method"], scope["path"]))
        status = CLIENT_GONE if response is None else response.status_code
        self._metrics.request(route.path, scope["method"], status, perf_counter() - started)
        return response
