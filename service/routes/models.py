"""GET /models…: what is served, how good it is and where it came from."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from service.dependencies import ModelDep, SnapshotDep, refuse_repeated
from service.errors import InvalidParameter, UnknownModel, UnknownVersion
from service.manifest import FEATURE_MAPS, HISTORY, TEST_PROBABILITIES, WEIGHT_STATISTICS, Manifest
from service.model import Model
from service.model_store import Snapshot
from service.openapi import example, problems
from service.routes import examples
from service.routes.direct import json_response
from service.schemas import KnownQuery, LayerList, ModelDetail, ModelList, ModelSummary

router = APIRouter(tags=["models"], dependencies=[Depends(refuse_repeated)])


@router.get(
    "/models",
    operation_id="list_models",
    response_model=ModelList,
    responses=example(examples.MODELS) | problems(InvalidParameter),
)
async def list_models(snapshot: SnapshotDep, _: Annotated[KnownQuery, Query()]) -> Response:
    """Every model at its latest version, and what was refused with the reason."""
    body: ModelList = {
        "models": [summary(model, snapshot) for model in snapshot.latest()],
        "refused": [
            {"name": one.name, "version": one.version, "reason": one.reason} for one in snapshot.refused_now()
        ],
    }
    return json_response(body)


@router.get(
    "/models/{model}",
    operation_id="get_model",
    response_model=ModelDetail,
    responses=example(examples.MODEL) | problems(UnknownModel, UnknownVersion, InvalidParameter),
)
async def get_model(model: ModelDep, snapshot: SnapshotDep) -> Response:
    """One model: classes, input, metrics of the whole test set, how it was trained and on what."""
    manifest = model.manifest
    body: ModelDetail = {
        **summary(model, snapshot),
        "description": manifest.description,
        "created": manifest.created,
        "classes": manifest.classes,
        "input": manifest.input,
        "engine": {"name": model.engine.name, "precision": model.engine.precision},
        "metrics": manifest.metrics,
        "experiment": manifest.experiment,
        "provenance": manifest.provenance,
        "members": manifest.members,
    }
    return json_response(body)


@router.get(
    "/models/{model}/layers",
    operation_id="list_layers",
    response_model=LayerList,
    responses=example(examples.LAYERS) | problems(UnknownModel, UnknownVersion, InvalidParameter),
)
async def list_layers(model: ModelDep) -> Response:
    """The model summary: every layer with its output's shape and its parameters."""
    manifest = model.manifest
    body: LayerList = {
        "model": manifest.name,
        "version": manifest.version,
        "layers": [
            {
                "name": layer.name,
                "type": layer.type,
                "shape": layer.shape,
                "parameters": layer.parameters,
                "trainable": layer.trainable,
            }
            for layer in manifest.layers
        ],
        "parameters": manifest.parameters,
        "trainable": manifest.trainable_parameters,
    }
    return json_response(body)


def summary(model: Model, snapshot: Snapshot) -> ModelSummary:
    """A model's line in the list."""
    manifest = model.manifest
    return {
        "name": manifest.name,
        "aliases": snapshot.aliases_of(manifest.name),
        "version": manifest.version,
        "versions": list(snapshot.versions[manifest.name]),
        "dataset": manifest.dataset,
        "state": "ready" if model.unavailable is None else "unavailable",
        "accuracy": manifest.metrics.accuracy,
        "accuracy_interval": manifest.metrics.accuracy_interval,
        "parameters": manifest.parameters,
        "bytes": model.bytes,
        "links": _links(manifest, is_latest=snapshot.get(manifest.name) is model),
    }


def _links(manifest: Manifest, *, is_latest: bool) -> dict[str, str]:
    """Where to go on with this version; only to what it was published with."""
    home = f"/models/{manifest.name}"
    reports = {
        "feature_maps": FEATURE_MAPS,
        "hard_examples": TEST_PROBABILITIES,
        "training": HISTORY,
        "weights": WEIGHT_STATISTICS,
        "calibration": TEST_PROBABILITIES,
    }
    links = {
        "self": home,
        "layers": f"{home}/layers",
        "predict": f"/predict/{manifest.name}",
        **{
            name: f"{home}/{name.replace('_', '-')}"
            for name, file in reports.items()
            if file in manifest.files
        },
        "confusion_matrix": f"{home}/confusion-matrix",
    }
    version = "" if is_latest else f"?version={manifest.version}"
    return {name: link + version for name, link in links.items()}
