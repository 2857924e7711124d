"""GET /models/{model}/training, …/confusion-matrix, …/calibration, …/weights: reports, as numbers and as figures."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field
from typing_extensions import TypedDict

from service.artifact_files import require
from service.dependencies import (
    ModelName,
    deadline_of,
    find_model,
    refuse_repeated,
    service_of,
    still_connected,
)
from service.errors import (
    DeadlinePassed,
    InvalidParameter,
    NotAcceptable,
    NotInArtifact,
    NotReady,
    Problem,
    QueueFull,
    UnknownDataset,
    UnknownLayer,
    UnknownModel,
    UnknownVersion,
)
from service.feature_maps import find_layer
from service.figures.request import FigureRequest, Kind
from service.formats import choose_format
from service.hard_examples import Answers
from service.manifest import HISTORY, TEST_PROBABILITIES, WEIGHT_STATISTICS
from service.model import Model
from service.openapi import BINARY, Responses, example, problems
from service.pictures.colours import Theme
from service.reports import Report, gap, most_confused, refuse_without_weights, reliability
from service.routes import inside_examples
from service.routes.direct import json_response
from service.schemas import VersionQuery
from service.schemas_inside import Calibration, ConfusionMatrix, Training, Weights

FORMATS = {"json": "application/json", "png": "image/png"}
DRAWN_FROM = {"training": HISTORY, "weights": WEIGHT_STATISTICS, "calibration": TEST_PROBABILITIES}

T = TypeVar("T")

router = APIRouter(tags=["reports"], dependencies=[Depends(refuse_repeated)])

LayerName = Annotated[str, Path(description="GET /models/{model}/layers lists them", examples=["conv2d"])]


class ReportQuery(VersionQuery):
    """In which form."""

    theme: Theme = Field("light", description="of the png")
    format: str | None = Field(
        None, description="else by Accept, else json", json_schema_extra={"enum": list(FORMATS)}
    )


class ComparedQuery(ReportQuery):
    """In which form, and beside what."""

    against: str | None = Field(
        None,
        description="another model or alias: the png shows both on common axes, the JSON has its numbers as `against`",
    )


class CurvesQuery(ComparedQuery):
    """The same of the learning curves."""

    against: str | None = Field(
        None,
        description="another model or alias: the png shows both on common axes; the JSON describes the first model "
        "only, but the other must exist",
    )


def _documented(body: object, *kinds: type[Problem]) -> Responses:
    return example(body, "the numbers, or a figure", {"image/png": BINARY}) | problems(
        UnknownModel, UnknownVersion, *kinds, NotInArtifact, NotAcceptable, InvalidParameter, QueueFull, NotReady,
        DeadlinePassed,
    )  # fmt: skip


@router.get(
    "/models/{model}/training",
    operation_id="get_training",
    response_model=Training,
    responses=_documented(inside_examples.TRAINING),
)
async def get_training(
    request: Request, model: ModelName, query: Annotated[CurvesQuery, Query()]
) -> Response:
    """Loss and accuracy of every epoch; as png the learning curves, of two models with `against`."""
    both = _both(request, find_model(request, model, query), query)
    deadline = deadline_of(service_of(request))
    if choose_format(request, FORMATS) == "png":
        return await _figure(request, "training", both, query.theme, deadline)
    served = both[0]
    history = await _aside(request, _report(request, served).history, deadline)
    body: Training = {
        **_named(served),
        "epochs": history,
        "readings": served.manifest.metrics.readings,
        "seconds": served.manifest.provenance.seconds,
        "gap": gap(history),
    }
    return json_response(body, varies=True)


@router.get(
    "/models/{model}/confusion-matrix",
    operation_id="get_confusion_matrix",
    response_model=ConfusionMatrix,
    responses=_documented(inside_examples.CONFUSION_MATRIX),
)
async def get_confusion_matrix(
    request: Request, model: ModelName, query: Annotated[ReportQuery, Query()]
) -> Response:
    """Which classes the model takes for which, on the whole test set."""
    served = find_model(request, model, query)
    if choose_format(request, FORMATS) == "png":
        deadline = deadline_of(service_of(request))
        return await _figure(request, "confusion-matrix", [served], query.theme, deadline)
    metrics, classes = served.manifest.metrics, served.classes
    body: ConfusionMatrix = {
        **_named(served),
        "classes": classes,
        "matrix": metrics.confusion,
        "per_class": metrics.per_class,
        "most_confused": [
            {"true": classes[pair.true], "predicted": classes[pair.predicted], "count": pair.count}
            for pair in most_confused(metrics.confusion)
        ],
    }
    return json_response(body, varies=True)


@router.get(
    "/models/{model}/calibration",
    operation_id="get_calibration",
    response_model=Calibration,
    responses=_documented(inside_examples.CALIBRATION, UnknownDataset),
)
async def get_calibration(
    request: Request, model: ModelName, query: Annotated[ReportQuery, Query()]
) -> Response:
    """Whether the model is right as often as it says: confidence and accuracy in 15 bins of the test set."""
    served = find_model(request, model, query)
    chosen = choose_format(request, FORMATS)
    deadline = deadline_of(service_of(request))
    if chosen == "png":
        return await _figure(request, "calibration", [served], query.theme, deadline)
    found = await _test_answers(request, served, deadline)
    metrics = served.manifest.metrics
    body: Calibration = {
        **_named(served),
        "bins": [
            {
                "low": one.low,
                "high": one.high,
                "count": one.count,
                "confidence": one.confidence,
                "accuracy": one.accuracy,
            }
            for one in reliability(found.probabilities, found.labels)
        ],
        "ece": metrics.ece,
        "ece_before_temperature": metrics.ece_before_temperature,
        "temperature": metrics.temperature,
        "temperature_exponent": metrics.temperature_exponent,
        "nll": metrics.nll,
    }
    return json_response(body, varies=True)


@router.get(
    "/models/{model}/weights",
    operation_id="list_weights",
    response_model=Weights,
    responses=_documented(inside_examples.WEIGHTS, UnknownLayer),
)
async def list_weights(
    request: Request, model: ModelName, query: Annotated[ComparedQuery, Query()]
) -> Response:
    """Statistics and histogram of every layer's weights; as png the kernels, of two models with `against`."""
    return await _weights(request, find_model(request, model, query), None, query)


@router.get(
    "/models/{model}/layers/{layer}/weights",
    operation_id="get_layer_weights",
    response_model=Weights,
    responses=_documented(inside_examples.WEIGHTS, UnknownLayer),
)
async def get_layer_weights(
    request: Request, model: ModelName, layer: LayerName, query: Annotated[ComparedQuery, Query()]
) -> Response:
    """Statistics and histogram of one layer's weights, beside another model's with `against`."""
    served = find_model(request, model, query)
    find_layer(served.manifest, layer)
    return await _weights(request, served, layer, query)


async def _weights(request: Request, model: Model, layer: str | None, query: ComparedQuery) -> Response:
    chosen = choose_format(request, FORMATS)
    deadline = deadline_of(service_of(request))
    both = _both(request, model, query)
    if chosen == "png":
        return await _figure(request, "weights", both, query.theme, deadline, layer)
    reads = (partial(_report(request, one).weights, layer) for one in both)
    layers = [await _aside(request, read, deadline) for read in reads]
    body: Weights = {"model": model.name, "version": model.version, "layers": layers[0]}
    if len(both) > 1:
        body["against"] = {**_named(both[1]), "layers": layers[1]}
    return json_response(body, varies=True)


async def _figure(
    request: Request, kind: Kind, models: list[Model], theme: Theme, deadline: float, layer: str | None = None
) -> Response:
    """One that was drawn already, or is now. Whether its files are as published, its process finds out."""
    service = service_of(request)
    for one in models:  # what their manifests say needs no process
        if kind in DRAWN_FROM:
            require(one.manifest, DRAWN_FROM[kind])
        if layer is not None:
            refuse_without_weights(one.manifest, layer)
    figure = FigureRequest(
        kind=kind,
        artifacts=service.settings.artifacts.resolve(),
        # Those that are served: a version may have been published anew since, and the JSON tells of this one.
        manifests=tuple(one.manifest.model_dump_json() for one in models),
        layer=layer,
        theme=theme,
    )
    if kind == "calibration" and not service.figures.has(figure):
        await _test_answers(request, models[0], deadline)  # refuses those to another test set
    picture = await service.figures.draw(figure, deadline, still_connected(request))
    return Response(picture, headers={"Vary": "Accept"}, media_type=FORMATS["png"])


def _both(request: Request, model: Model, query: ComparedQuery) -> list[Model]:
    """The model, and the one beside it where one was asked for."""
    return [model] if query.against is None else [model, find_model(request, query.against, VersionQuery())]


async def _test_answers(request: Request, model: Model, deadline: float) -> Answers:
    service = service_of(request)
    samples = await service.samples.of(model.manifest.dataset, deadline)
    return await _aside(request, partial(service.test_answers.of, model.manifest, samples), deadline)


def _report(request: Request, model: Model) -> Report:
    return Report(service_of(request).settings.artifacts, model.manifest)


class _Named(TypedDict):
    model: str
    version: str


def _named(model: Model) -> _Named:
    return {"model": model.name, "version": model.version}


async def _aside(request: Request, work: Callable[[], T], deadline: float) -> T:
    return await service_of(request).aside.do(work, deadline, still_connected(request))
