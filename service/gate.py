"""Refuses an image that its model's queue has no room for before the application is called.

An overloaded service refuses more than it answers. A task, the middleware and a response's way back through them
cost as much as parsing the request did; what a refusal costs is taken from the answers.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from service.errors import PROBLEM_JSON, problem_json
from service.metrics import Metrics
from service.short_way import Ways

_CONTENT_TYPE = (b"content-type", PROBLEM_JSON.encode())


class Refusal(NamedTuple):
    """An answer, as a server sends it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Gate:
    """Knows no server: `service.protocol` asks it."""

    def __init__(self, ways: Ways, metrics: Metrics) -> None:
        self._ways = ways
        self._metrics = metrics

    def refusal(self, scope: Mapping[str, Any]) -> Refusal | None:
        """The answer to a request that would only be refused, counted; None for one that the application answers."""
        found = self._ways.find(scope)
        if found is None:
            return None
        route, name = found
        problem = self._ways.refusal(scope, name)
        if problem is None:
            return None
        self._metrics.request(route.path, scope["method"], problem.status, 0.0)
        body = problem_json(scope["path"], problem)
        headers = [(key.lower().encode(), value.encode()) for key, value in problem.headers.items()]
        headers += [(b"content-length", b"%d" % len(body)), _CONTENT_TYPE]
        return Refusal(problem.status, headers, body)
