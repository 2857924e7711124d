"""Probes, and counters for Prometheus."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping

from fastapi import APIRouter, Request, Response

from service.dependencies import SnapshotDep, service_of
from service.errors import NotReady
from service.metrics import MEDIA_TYPE
from service.model import Model
from service.model_store import Snapshot
from service.openapi import example, problems
from service.routes.direct import json_response
from service.schemas import Health

router = APIRouter(tags=["operations"])


@router.get(
    "/health/live", operation_id="health_live", response_model=Health, responses=example({"status": "ok"})
)
async def live() -> Response:
    """The process answers. Restart it when this does not."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get(
    "/health/ready",
    operation_id="health_ready",
    response_model=Health,
    responses=example({"status": "ok", "models": 12}) | problems(NotReady),
)
async def ready(snapshot: SnapshotDep) -> Response:
    """There are models to answer with. Send requests only while this says so."""
    refuse_without_models(snapshot)
    body: Health = {"status": "ok", "models": len(snapshot.versions)}
    return json_response(body)


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus text format",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
async def metrics(request: Request) -> Response:
    """Requests, their seconds, rows of each run, and how many images wait: of the worker that answers. Where there are
    several, the label `worker` tells which it is."""
    service = service_of(request)
    worker = os.getpid() if service.settings.workers > 1 else None
    return Response(
        service.metrics.text(waiting(service.store.snapshot.all()), worker), media_type=MEDIA_TYPE
    )


def refuse_without_models(snapshot: Snapshot) -> None:
    """Raises NotReady where no model is served, and where none could be opened when it was tried last."""
    models = [*snapshot.all()]
    if not models:
        raise NotReady("no model is served; GET /models says what was refused and why")
    if all(model.unavailable is not None for model in models):
        raise NotReady(f"{models[0].refused_as_it_is().detail}, nor can any other; GET /models says why")


def waiting(models: Iterable[Model]) -> Mapping[str, int]:
    """Images by the name of their model, whatever its version."""
    rows: Counter[str] = Counter()
    for model in models:
        rows[model.name] += model.waiting_rows
    return rows
