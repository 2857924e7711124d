"""What happens to every request: it is counted, its failure becomes an answer, and HEAD is GET without a body."""

import asyncio
import logging
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.callers import CallerGoneError
from service.metrics import CLIENT_GONE, NO_ROUTE, OTHER_METHOD, Metrics
from service.problem_responses import printable, problem_response, unforeseen

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

access_log = logging.getLogger("convscope.access")


class Observer:
    """Plain ASGI: Starlette's BaseHTTPMiddleware would cost a task and a stream for each request."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, log_access: bool = False) -> None:
        self._app = app
        self._metrics = metrics
        self._log_access = log_access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        method: str = scope["method"]
        status = 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        if method == "HEAD":  # a copy: uvicorn reads its own to know that no body is to follow
            scope = {**scope, "method": "GET"}
        try:
            await self._app(scope, receive, observed)
        except CallerGoneError as error:
            status = CLIENT_GONE
            error.forget()
        except (Exception, asyncio.CancelledError) as error:
            problem = unforeseen(error, method, scope["path"])
            if status:  # too late for another answer: the server must cut the connection
                raise
            await problem_response(scope, problem)(scope, receive, observed)
        finally:
            self._record(scope, method, status, perf_counter() - started)

    def _record(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        # Neither a path nor a method that a client made up may become a new series.
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        self._metrics.request(route, method if method in METHODS else OTHER_METHOD, status, seconds)
        if self._log_access:
            access_log.info("%s %s %d %.1f ms", method, printable(scope["path"]), status, seconds * 1000)
