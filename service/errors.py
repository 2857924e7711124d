"""What can go wrong, each with its HTTP status, and the one handler that says so (RFC 9457).

Code anywhere in the service raises a `Problem`; endpoints hold no try/except. `detail` is read by the
person who sent the request: it says what came, what was expected, and never a path of the server.
"""

import logging
import re
from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from errno import EMFILE, ENFILE
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

PROBLEM_JSON = "application/problem+json"
UNKNOWN_PARAMETER = "unknown_parameter"  # of pydantic's findings, one whose message says all
LONGEST_VALUE = 200  # characters of what a client sent that an answer repeats
MOST_VALUES = 10  # of a list of them
OPEN_INFERENCE = "/v2"  # below this path errors are in that protocol's own form

_NOT_IN_A_PATH = re.compile(rb"[^\w\-.~!$&'()*+,;=:@/%]|%(?![0-9A-Fa-f]{2})")

log = logging.getLogger("convscope")


class ProblemBody(BaseModel):
    """RFC 9457 `application/problem+json`. `type` is a page of this service that explains the problem."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["/problems/unknown-model"])
    title: str = Field(examples=["Unknown model"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no model 'mnits'; there are mnist, cifar10, …"])
    instance: str | None = Field(None, description="the path that was asked for, as it came")


class ErrorBody(BaseModel):
    """An error as the Open Inference Protocol has it."""

    error: str


class Problem(Exception):  # noqa: N818 — RFC 9457's own word
    """A request that cannot be answered. Subclasses give the type; the docstring is the page's text."""

    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    retry_after: ClassVar[int | None] = None
    """seconds after which the same request may well succeed"""

    def __init__(self, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        if self.retry_after is not None:
            self.headers.setdefault("Retry-After", str(self.retry_after))

    def body(self, instance: str | None = None) -> ProblemBody:
        """The answer's body."""
        return ProblemBody(
            type=f"/problems/{self.slug}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            instance=instance,
        )


class UnknownModel(Problem):
    """No model or alias has this name. GET /models lists those there are, and those refused with the reason."""

    slug, title, status = "unknown-model", "Unknown model", 404


class UnknownVersion(Problem):
    """The model is there, this version of it is not. GET /models/{model} lists its versions."""

    slug, title, status = "unknown-version", "Unknown version", 404


class UnknownLayer(Problem):
    """The model has no layer of this name. GET /models/{model}/layers lists them."""

    slug, title, status = "unknown-layer", "Unknown layer", 404


class UnknownDataset(Problem):
    """The service holds no test images of a data set of this name."""

    slug, title, status = "unknown-dataset", "Unknown data set", 404


class UnknownSample(Problem):
    """The data set has no test image at this index; indices count from 0 in the original order."""

    slug, title, status = "unknown-sample", "Unknown sample", 404


class NotInArtifact(Problem):
    """The model was published without what this answer is made of. GET /models/{model} says what it has."""

    slug, title, status = "not-in-artifact", "Not in the artifact", 404


class NotFound(Problem):
    """The service has nothing at this path. GET /docs lists every path."""

    slug, title, status = "not-found", "Not found", 404


class MethodNotAllowed(Problem):
    """The path is right and the method is not. The Allow header names those that are."""

    slug, title, status = "method-not-allowed", "Method not allowed", 405


class NotAcceptable(Problem):
    """None of the formats asked for, by Accept or ?format=, can be made here. The detail lists those that can."""

    slug, title, status = "not-acceptable", "Not acceptable", 406


class TooManyBytes(Problem):
    """The body is larger than the service takes. Send a smaller file or fewer at once, or raise the limit:
    CONVSCOPE_MAX_BODY_BYTES for a request with one image, CONVSCOPE_MAX_BATCH_BYTES for /predict/{model}/batch and for
    all of /v2, where CONVSCOPE_MAX_JSON_BYTES is that of the JSON."""

    slug, title, status = "too-many-bytes", "Too many bytes", 413


class TooManyPixels(Problem):
    """The image has more pixels than the service decodes, or more than 65,535 along a side. Send it smaller, or raise
    CONVSCOPE_MAX_PIXELS."""

    slug, title, status = "too-many-pixels", "Too many pixels", 413


class NotAnImage(Problem):
    """The body, by its Content-Type or by its bytes, is no PNG, JPEG, WEBP, GIF or BMP image."""

    slug, title, status = "not-an-image", "Not an image", 415


class UndecodableImage(Problem):
    """The body begins like an image and cannot be decoded: it is truncated or damaged."""

    slug, title, status = "undecodable-image", "Undecodable image", 422


class BlankImage(Problem):
    """There is nothing on the picture that stands out from its ground, so there is no digit to name."""

    slug, title, status = "blank-image", "Blank image", 422


class InvalidParameter(Problem):
    """A parameter or field is missing, of the wrong kind, or out of range; the detail says what was expected."""

    slug, title, status = "invalid-parameter", "Invalid parameter", 422


class NotHttp(Problem):
    """What came over the connection is no HTTP/1.1 request, or ends as none; the connection is closed."""

    slug, title, status = "not-http", "Not an HTTP request", 400


class HeadTooLong(Problem):
    """The request line and the headers are longer than the service takes, or what comes after a body in chunks is; the
    connection is closed. Send fewer cookies, or what is long in the body."""

    slug, title, status = "head-too-long", "Head too long", 431


class NotReady(Problem):
    """The service is starting, stopping, holds no model that it can serve, or was given no more threads or files by the
    system. Retry-After says when to ask again."""

    slug, title, status = "not-ready", "Not ready", 503
    retry_after = 1


class QueueFull(Problem):
    """More images wait than the service can answer in time, so it refuses at once. Retry after Retry-After."""

    slug, title, status = "queue-full", "Queue full", 503
    retry_after = 1


class DeadlinePassed(Problem):
    """The answer was not ready within the time allowed for one request. Send fewer or smaller images at once, or raise
    CONVSCOPE_DEADLINE."""

    slug, title, status = "deadline-passed", "Deadline passed", 504


class InternalError(Problem):
    """Something failed inside the service. It is in its log with the time; nothing of it is shown here."""


def counted(number: int, noun: str) -> str:
    """For a detail: `1 file`, `1,025 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def brief(text: str) -> str:
    """For a detail: what a client sent, of any length."""
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def listed(values: Sequence[object]) -> str:
    """For a detail: what a client sent, of any number and length."""
    more = f" and {len(values) - MOST_VALUES:,} more" if len(values) > MOST_VALUES else ""
    return ", ".join(map(_shortened, values[:MOST_VALUES])) + more


def problem_types() -> dict[str, type[Problem]]:
    """Every problem type by its slug: what /problems/{slug} explains."""
    return {subclass.slug: subclass for subclass in Problem.__subclasses__()}


def problem_response(scope: Mapping[str, Any], problem: Problem) -> Response:
    """Any problem as the answer to a request: `application/problem+json`, or what its path's protocol has instead."""
    if f"{scope['path']}/".startswith(f"{OPEN_INFERENCE}/"):
        error = ErrorBody(error=problem.detail).model_dump_json()
        return Response(error, open_inference_status(problem.status), problem.headers, "application/json")
    return Response(problem_json(instance_of(scope), problem), problem.status, problem.headers, PROBLEM_JSON)


def instance_of(scope: Mapping[str, Any]) -> str:
    """The path that was asked for, as it came: RFC 9457 has a URI reference there."""
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    escaped = _NOT_IN_A_PATH.sub(lambda found: b"%%%02X" % ord(found[0]), path).decode("ascii")
    # With two slashes a reference begins with the name of a host (RFC 3986, section 4.2).
    return f"/.{escaped}" if escaped.startswith("//") else escaped


def problem_json(instance: str, problem: Problem) -> bytes:
    """A problem's body. An overload has many refusals: a ProblemBody for each would double what one costs."""
    return to_json(
        {
            "type": f"/problems/{problem.slug}",
            "title": problem.title,
            "status": problem.status,
            "detail": problem.detail,
            "instance": instance,
        }
    )


def open_inference_status(status: int) -> int:
    """That protocol tells clients' mistakes apart no further than 400, but for what is not there or too long."""
    mistakes = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY)
    return HTTPStatus.BAD_REQUEST if status in mistakes else status


def add_error_handlers(app: FastAPI) -> None:
    """From here on every failure of a request is a problem; only what nobody foresaw is an InternalError."""
    for kind in (Problem, HTTPException, RequestValidationError, ClientDisconnect):
        app.add_exception_handler(kind, answer)


async def answer(request: Request, error: Exception) -> Response:
    """The one handler."""
    scope = request.scope
    match error:
        case Problem():
            return problem_response(scope, error)
        case RequestValidationError():
            return problem_response(scope, InvalidParameter("; ".join(map(_expected, error.errors()))))
        case ClientDisconnect():
            # Nobody reads this answer; 499 is what proxies write into their logs for it.
            return Response(status_code=499)
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
            return _method_not_allowed(request)
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            detail = f"there is nothing at {brief(scope['path'])}; GET /docs lists every path"
            return problem_response(scope, NotFound(detail))
    return problem_response(scope, InternalError("something failed inside the service; it is in the log"))


def unforeseen(error: BaseException, method: str, path: str) -> Problem:
    """What a client is told of a failure that is no problem of its own, and of being cancelled. Logs the failure."""
    if isinstance(error, CancelledError):  # by a server that stops and has waited for as long as it may
        return NotReady("the service is stopping, and has no time left for this request")
    if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):  # by whoever holds many connections
        log.warning("%s %s: %s", method, printable(path), error)
        return NotReady("too many files and connections are open already; ask again in a moment")
    log.error("%s %s failed", method, printable(path), exc_info=error)
    return InternalError("something failed inside the service; it is in the log")


def printable(path: str) -> str:
    """For the log: a client that asks for line ends or terminal commands writes no lines of its own there."""
    return path if path.isprintable() else ascii(path)


def _expected(error: dict[str, Any]) -> str:
    """One finding of pydantic's: `top_k: Input should be greater than or equal to 1, not '0'`."""
    if error["type"] == UNKNOWN_PARAMETER:
        return str(error["msg"])
    name = ".".join(map(str, error["loc"][1:]))
    return f"{name}: {error['msg']}, not {_shortened(error['input'])}"


def _shortened(value: object) -> str:
    return brief(repr(value))


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
