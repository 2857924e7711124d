"""How a client is told of a problem: `application/problem+json` (RFC 9457), or what its path's protocol has instead."""

import logging
import re
from asyncio import CancelledError
from collections.abc import Mapping
from errno import EMFILE, ENFILE
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from service.errors import (
    PROBLEM_JSON,
    UNKNOWN_PARAMETER,
    InternalError,
    InvalidParameter,
    MethodNotAllowed,
    NotFound,
    NotReady,
    Problem,
    brief,
    listed,
)
from service.metrics import CLIENT_GONE

OPEN_INFERENCE = "/v2"  # below this path errors are in that protocol's own form

_NOT_IN_A_PATH = re.compile(rb"[^\w\-.~!$&'()*+,;=:@/%]|%(?![0-9A-Fa-f]{2})")

log = logging.getLogger("convscope")


class ErrorBody(BaseModel):
    """An error as the Open Inference Protocol has it."""

    error: str


def problem_response(scope: Mapping[str, Any], problem: Problem) -> Response:
    """Any problem as the answer to a request."""
    if f"{scope['path']}/".startswith(f"{OPEN_INFERENCE}/"):
        error = ErrorBody(error=problem.detail).model_dump_json()
        return Response(error, open_inference_status(problem.status), problem.headers, "application/json")
    body = to_json(problem.members(instance_of(scope)))
    return Response(body, problem.status, problem.headers, PROBLEM_JSON)


def instance_of(scope: Mapping[str, Any]) -> str:
    """The path that was asked for, as it came: RFC 9457 has a URI reference there."""
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    escaped = _NOT_IN_A_PATH.sub(lambda found: b"%%%02X" % ord(found[0]), path).decode("ascii")
    # With two slashes a reference begins with the name of a host (RFC 3986, section 4.2).
    return f"/.{escaped}" if escaped.startswith("//") else escaped


def open_inference_status(status: int) -> int:
    """That protocol tells clients' mistakes apart no further than 400, but for what is not there or too long."""
    mistakes = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY)
    return HTTPStatus.BAD_REQUEST if status in mistakes else status


def add_error_handlers(app: FastAPI) -> None:
    """From here on every failure of a request is a problem; only what nobody foresaw is an InternalError."""
    for kind in (Problem, HTTPException, RequestValidationError, ClientDisconnect):
        app.add_exception_handler(kind, handle_error)


async def handle_error(request: Request, error: Exception) -> Response:
    """The one handler."""
    scope = request.scope
    match error:
        case Problem():
            return problem_response(scope, error)
        case RequestValidationError():
            return problem_response(scope, InvalidParameter("; ".join(map(_expected, error.errors()))))
        case ClientDisconnect():
            return Response(status_code=CLIENT_GONE)  # which nobody reads
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
            return _method_not_allowed(request)
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            detail = f"there is nothing at {brief(scope['path'])}; GET /docs lists every path"
            return problem_response(scope, NotFound(detail))
    return problem_response(scope, unforeseen(error, scope["method"], scope["path"]))


def unforeseen(error: BaseException, method: str, path: str) -> Problem:
    """What a client is told of a failure that is no problem of its own, and of being cancelled. Logs the failure."""
    if isinstance(error, CancelledError):  # by a server that stops and has waited for as long as it may
        return NotReady("the service is stopping, and has no time left for this request")
    if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):  # by whoever holds many connections
        log.warning("%s %s: %s", method, printable(path), error)
        return NotReady("too many files and connections are open already; ask again in a moment")
    log.error("%s %s failed", method, printable(path), exc_info=error)
    return InternalError()


def printable(path: str) -> str:
    """For the log: a client that asks for line ends or terminal commands writes no lines of its own there."""
    return path if path.isprintable() else ascii(path)


def _expected(error: dict[str, Any]) -> str:
    """One finding of pydantic's: `top_k: Input should be greater than or equal to 1, not '0'`."""
    if error["type"] == UNKNOWN_PARAMETER:
        return str(error["msg"])
    name = ".".join(map(str, error["loc"][1:]))
    return f"{name}: {error['msg']}, not {listed([error['input']])}"


def _method_not_allowed(request: Request) -> Response:
    """Names every method of the path, also those of its other routes; OPTIONS asks for just that."""
    allowed: set[str] = set()
    scope = request.scope  # of a file's, which is relative to its folder, as it was before
    scope = {**scope, "root_path": scope.get("app_root_path", scope.get("root_path", ""))}
    for route in request.app.routes:
        if route.matches(scope)[0] is not Match.NONE:
            allowed |= getattr(route, "methods", None) or {"GET"}  # files, of which nobody lists the methods
    if "GET" in allowed:
        allowed.add("HEAD")
    allow = ", ".join(sorted(allowed | {"OPTIONS"}))
    if request.method == "OPTIONS":
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": allow})
    detail = f"{request.method} is not possible here; {allow} are"
    return problem_response(request.scope, MethodNotAllowed(detail, {"Allow": allow}))
