"""A route for hot paths: documented by FastAPI from the endpoint's signature, and called without the rest of it."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

Endpoint = Callable[[Request, str, BaseModel], Awaitable[Response]]


class DirectRoute(APIRoute):
    """Calls `endpoint(request, model, query)` and sends the Response that it gives.

    `model` is the path's parameter and `query` a pydantic model of the query's. FastAPI's own resolution of
    the same three costs as much as the whole rest of a prediction.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Endpoint = self.endpoint
        query_type: type[BaseModel] = get_type_hints(endpoint)["query"]
        defaults = query_type()

        async def handle(request: Request) -> Response:
            query = _parse(query_type, request) if request.scope["query_string"] else defaults
            return await endpoint(request, request.scope["path_params"]["model"], query)

        return handle


def _parse(query_type: type[BaseModel], request: Request) -> BaseModel:
    try:
        return query_type.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("query", *one["loc"])} for one in error.errors()]
        ) from None
