"""What the service is held against: as little as answers over the same HTTP server.

uvicorn tests.benchmarks.serving.apps:framework --factory
"""

from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Receive, Scope, Send


def bare() -> ASGIApp:
    """No framework: reads the body and gives its length. What the HTTP server alone allows."""
    return _bare


def framework() -> FastAPI:
    """The same by FastAPI: what the framework allows."""
    app = FastAPI()

    @app.post("/predict/{model}")
    async def predict(model: str, request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    return app


async def _bare(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b'{"bytes":%d}' % size
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})
