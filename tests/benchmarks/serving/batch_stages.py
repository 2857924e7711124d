"""A batch of PNGs without its server, and its parts, each timed alone in this process: processor microseconds for one
image of it.

python -m tests.benchmarks.serving.batch_stages --seconds S
"""

import json
import zlib

from fastapi import FastAPI, Request
from pydantic_core import to_json
from starlette.types import Message, Scope

from service.app import create_app
from service.dependencies import images_of
from service.images import PrepareOptions, prepare_each
from service.ranking import rank
from service.routes.predictions import predict_batch
from service.schemas import BatchQuery
from service.settings import Settings
from tests.benchmarks.arguments import parser_of
from tests.benchmarks.serving import messages
from tests.benchmarks.serving.batch_path import DIFFERENT_DIGITS
from tests.benchmarks.serving.bench import DIGITS
from tests.benchmarks.serving.beside_no_ops import ROWS, batch_of_digits
from tests.benchmarks.serving.loops import run
from tests.benchmarks.serving.messages import encoded, test_images
from tests.benchmarks.serving.stages import awaited, timed

_AFTER_PIXELS = 16  # bytes of a PNG: a checksum and the last chunk


async def stages(seconds: float) -> dict[str, float]:
    """By name. `endpoint` is all that comes after the router, one batch at a time."""
    app, batch = create_app(Settings(), owns_process=True), batch_of_digits(DIGITS)
    async with app.router.lifespan_context(app):
        model = app.state.service.store.snapshot.find(DIGITS)
        spec, limit = model.manifest.input, app.state.service.settings.max_pixels
        images = test_images("mnist", ROWS)
        files = [encoded(one) for one in images]
        different = [encoded(one) for one in test_images("mnist", DIFFERENT_DIGITS)]
        probabilities = model.infer(images)
        response = await predict_batch(request(app, batch), DIGITS, BatchQuery())
        answer = json.loads(bytes(response.body))
        if [one["label"] for one in answer["results"]] != [str(row.argmax()) for row in probabilities]:
            raise RuntimeError("the batch is not answered by what the engine says")
        whole = {
            "endpoint": await awaited(
                lambda: predict_batch(request(app, batch), DIGITS, BatchQuery()), seconds
            ),
            "form": await awaited(
                lambda: images_of(request(app, batch), app.state.service.settings, BatchQuery()), seconds
            ),
            "decode": timed(lambda: prepare_each(files, spec, PrepareOptions(), max_pixels=limit), seconds),
            "inflating": inflating(files, seconds),
            "engine": timed(lambda: model.infer(images), seconds),
            "ranking": timed(lambda: rank(probabilities, BatchQuery().top_k), seconds),
            "JSON": timed(lambda: to_json(answer), seconds),
        }
    return {name: microseconds / ROWS for name, microseconds in whole.items()} | {
        "inflating different": inflating(different, seconds) / DIFFERENT_DIGITS
    }


def inflating(files: list[bytes], seconds: float) -> float:
    """Microseconds of Python's zlib alone for the pixels of all these PNGs."""
    streams = [one[one.index(b"IDAT") + 4 : -_AFTER_PIXELS] for one in files]
    return timed(lambda: [zlib.decompress(one) for one in streams], seconds)


def request(app: FastAPI, message: messages.Request) -> Request:
    """As a server hands it over, with its whole body at once."""

    async def receive() -> Message:
        return {"type": "http.request", "body": message.body, "more_body": False}

    headers = [(b"content-type", message.content_type.encode())]
    scope: Scope = {
        "type": "http", "method": "POST", "path": message.path, "query_string": b"", "headers": headers, "app": app,
    }  # fmt: skip
    return Request(scope, receive)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, required=True, help="for each part")
    print(json.dumps(run(stages(parser.parse_args().seconds))))


if __name__ == "__main__":
    main()
