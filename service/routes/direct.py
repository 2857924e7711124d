"""A route for hot paths: documented by FastAPI from the endpoint's signature, and called without the rest of it."""

from collections.abc import Awaitable, Callable
from functools import cached_property
from http import HTTPStatus
from typing import get_type_hints

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from service.dependencies import refuse_repeated

Endpoint = Callable[[Request, str, BaseModel], Awaitable[Response]]

JSON = b"application/json"
VARIES = ((b"vary", b"Accept"),)
_OK = HTTPStatus.OK.value  # once: to look it up takes three calls


class ReadyResponse(Response):
    """A body that is there already. Starlette's own way to the same headers costs as much as making its JSON."""

    def __init__(self, body: bytes, content_type: bytes = JSON, *headers: tuple[bytes, bytes]) -> None:
        """`headers` are further ones, their names in small letters."""
        self.status_code = _OK
        self.body = body
        self.background = None
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", content_type),
            *headers,
        ]


def json_response(body: object, *, varies: bool = False) -> ReadyResponse:
    """A body that nobody need check any more; `varies` where Accept might have asked for another form."""
    return ReadyResponse(to_json(body), JSON, *(VARIES if varies else ()))


class PathRoute(APIRoute):
    """Calls `endpoint(request, **parameters of the path)` and sends the Response that it gives."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)
        response: Response = await self.endpoint(Request(scope, receive, send), **scope["path_params"])
        await response(scope, receive, send)

    async def respond(self, request: Request, model: str) -> Response:
        """The response of an endpoint whose only parameter is the model, not yet sent. Raises what it does."""
        response: Response = await self.endpoint(request, model)
        return response


class DirectRoute(APIRoute):
    """Calls `endpoint(request, model, query)` and sends the Response that it gives.

    `model` is the path's parameter and `query` a pydantic model of the query's. FastAPI's own resolution of
    the same three, and the exit stacks around it, cost as much as the whole rest of a prediction.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)
        response = await self.respond(Request(scope, receive, send), scope["path_params"]["model"])
        await response(scope, receive, send)

    async def respond(self, request: Request, model: str) -> Response:
        """The endpoint's response, not yet sent. Raises what the endpoint does, and RequestValidationError."""
        endpoint, query_type, defaults = self._call
        query = await _parse(query_type, request) if request.scope["query_string"] else defaults
        return await endpoint(request, model, query)

    @cached_property
    def _call(self) -> tuple[Endpoint, type[BaseModel], BaseModel]:
        query_type: type[BaseModel] = get_type_hints(self.endpoint)["query"]
        return self.endpoint, query_type, query_type()


async def _parse(query_type: type[BaseModel], request: Request) -> BaseModel:
    await refuse_repeated(request)
    try:
        return query_type.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("query", *one["loc"])} for one in error.errors()]
        ) from None
