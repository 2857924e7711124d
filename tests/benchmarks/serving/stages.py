"""The application and its parts, each timed alone in this process: processor microseconds for one prediction.

python -m tests.benchmarks.serving.stages --rows N --seconds S
"""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeGuard

import numpy as np
from fastapi import FastAPI, Request, Response
from numpy.typing import NDArray
from pydantic_core import to_json
from starlette.routing import BaseRoute
from starlette.types import Message, Scope

from service.admission import Limits
from service.app import create_app
from service.batcher import Batcher
from service.dependencies import FILE_FIELD
from service.gate import Gate
from service.images import PrepareOptions, prepare
from service.ranking import rank
from service.routes.direct import DirectRoute, ReadyResponse
from service.schemas import PredictionQuery
from service.settings import Settings
from service.short_way import Ways
from service.uploads import read_one
from tests.benchmarks.arguments import parser_of
from tests.benchmarks.serving.bench import CONNECTIONS, DIGITS
from tests.benchmarks.serving.loops import run
from tests.benchmarks.serving.messages import encoded, test_images

IMAGE = encoded(test_images("mnist", 1)[0])


SCOPE: Scope = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "path": f"/predict/{DIGITS}",
    "raw_path": f"/predict/{DIGITS}".encode(),
    "root_path": "",
    "scheme": "http",
    "query_string": b"",
    "headers": [
        (b"host", b"127.0.0.1"),
        (b"content-type", b"image/png"),
        (b"content-length", b"%d" % len(IMAGE)),
    ],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 8000),
}


async def stages(rows: int, seconds: float) -> dict[str, float]:
    """By name. `application` is all that the server's protocol calls, 32 at a time as under load."""
    app = create_app(Settings(), owns_process=True)
    async with app.router.lifespan_context(app):
        model = app.state.service.store.snapshot.find(DIGITS)
        spec, limit = model.manifest.input, app.state.service.settings.max_pixels
        images = test_images("mnist", rows)
        probabilities = model.infer(images[:1])
        answer = json.loads(await called(app))
        queue: Batcher[NDArray[np.float32]] = Batcher(_nothing, Limits())
        idle = await without_work()
        harness, empty = await together(_empty, seconds), await awaited(_empty, seconds)
        return {
            "application": await together(lambda: called(app), seconds) - harness,
            "routing": await together(lambda: called(idle), seconds) - harness,
            "body": await awaited(lambda: read_one(_request(), field=FILE_FIELD, max_bytes=1 << 20), seconds)
            - empty,
            "decode": timed(lambda: prepare(IMAGE, spec, PrepareOptions(), max_pixels=limit), seconds),
            "queue": await together(lambda: queue.submit(images[:1]), seconds) - harness,
            "engine": timed(lambda: model.infer(images), seconds) / len(images),
            "ranking": timed(lambda: rank(probabilities), seconds),
            "JSON": timed(lambda: to_json(answer), seconds),
        }


async def without_work() -> FastAPI:
    """The same application, except that the endpoint of predictions does nothing: what stands around it."""
    constant = b'{"label":"7"}'

    async def endpoint(request: Request, model: str, query: PredictionQuery) -> Response:
        return ReadyResponse(constant)

    app = create_app(Settings(), owns_process=True)
    route = next(one for one in app.router.routes if _predicts(one))
    idle = type(route)(route.path, endpoint, methods=["POST"], operation_id="without_work")
    service = app.state.service
    app.state.gate = Gate(app, Ways(service.store, {route.path: idle}, {}), service.metrics)
    if await called(app) != constant:
        raise RuntimeError("the endpoint of predictions was not replaced")
    return app


def _predicts(route: BaseRoute) -> TypeGuard[DirectRoute]:
    return isinstance(route, DirectRoute) and route.operation_id == "predict"


async def called(app: FastAPI) -> bytes:
    """One prediction past the server, as its protocol asks for it; returns the body of the answer."""
    gate: Gate = app.state.gate
    # A server makes a new scope for each request, and so does this.
    scope = dict(SCOPE)
    found = gate.find(scope)
    if found is None or gate.admit(*found, scope) is not None:
        raise RuntimeError("the gate does not take the request")
    response = await gate.answer(*found, scope, _receive)
    if response is None:
        raise RuntimeError("the gate takes the client for gone")
    return bytes(response.body)


async def _receive() -> Message:
    return {"type": "http.request", "body": IMAGE, "more_body": False}


def _request() -> Request:
    return Request(dict(SCOPE), _receive)


async def _empty() -> None:
    pass


async def _nothing(rows: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.zeros((len(rows), 10), np.float32)


def timed(work: Callable[[], object], seconds: float) -> float:
    """Processor microseconds of one call."""
    work()
    calls, began, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() < began + seconds:
        for _ in range(100):
            work()
        calls += 100
    return 1e6 * (time.process_time() - used) / calls


async def awaited(work: Callable[[], Coroutine[Any, Any, object]], seconds: float) -> float:
    """The same, of a coroutine awaited alone."""
    calls, began, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() < began + seconds:
        for _ in range(100):
            await work()
        calls += 100
    return 1e6 * (time.process_time() - used) / calls


async def together(work: Callable[[], Coroutine[Any, Any, object]], seconds: float) -> float:
    """The same, of one of 32 coroutines that wait at the same time, each a task of its own."""

    async def group() -> None:
        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))

    return await awaited(group, seconds) / CONNECTIONS


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, required=True, help="in a run of the engine")
    parser.add_argument("--seconds", type=float, required=True, help="for each part")
    options = parser.parse_args()
    print(json.dumps(run(stages(options.rows, options.seconds))))


if __name__ == "__main__":
    main()
