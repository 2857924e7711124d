"""GET /models/{model}/training, …/confusion-matrix, …/calibration, …/weights: reports, as numbers and as figures."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field
from pydantic_core import to_json
from typing_extensions import TypedDict

from service.artifact_files import samples_folder, unchanged
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
)  # fmt: skip
from service.feature_maps import find_layer
from service.figures.request import FigureRequest, Kind
from service.formats import choose_format
from service.hard_examples import TestAnswers
from service.manifest import HISTORY, TEST_PROBABILITIES, WEIGHT_STATISTICS
from service.model import Model
from service.openapi import BINARY, Responses, example, problems
from service.reports import Bin, Report, gap, most_confused, reliability
from service.routes import inside_examples
from service.samples import SampleSet
from service.schemas import VersionQuery
from service.schemas_inside import Calibration, ConfusionMatrix, Training, Weights

FORMATS = {"json": "application/json", "png": "image/png"}

T = TypeVar("T")

router = APIRouter(tags=["reports"], dependencies=[Depends(refuse_repeated)])

LayerName = Annotated[str, Path(description="GET /models/{model}/layers lists them", examples=["conv2d"])]


class ReportQuery(VersionQuery):
    """In which form."""

    theme: Literal["light", "dark"] = Field("light", description="of the png")
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
        description="another model or alias: the png shows both on common axes; the JSON is of the one model all the "
        "same, though there must be the other",
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
    served = find_model(request, model, query)
    deadline = deadline_of(service_of(request))
    if choose_format(request, FORMATS) == "png":
        return await _figure(request, "training", served, query, deadline)
    _against(request, query)  # the numbers are of one model; one that is not there is an error all the same
    history = await _aside(request, _report(request, served).history, deadline)
    body: Training = {
        **_named(served),
        "epochs": history,
        "readings": served.manifest.metrics.readings,
        "seconds": served.manifest.provenance.seconds,
        "gap": gap(history),
    }
    return _json(body)


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
        return await _figure(request, "confusion-matrix", served, query, deadline)
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
    return _json(body)


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
    service = service_of(request)
    deadline = deadline_of(service)
    samples = await service.samples.of(served.manifest.dataset, deadline)
    bins = await _aside(request, partial(_bins, service.test_answers, served, samples), deadline)
    if chosen == "png":
        return await _figure(request, "calibration", served, query, deadline)
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
            for one in bins
        ],
        "ece": metrics.ece,
        "ece_before_temperature": metrics.ece_before_temperature,
        "temperature": metrics.temperature,
        "temperature_exponent": metrics.temperature_exponent,
        "nll": metrics.nll,
    }
    return _json(body)


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
    both = [model, *_against(request, query)]
    reads = [partial(_report(request, one).weights, layer) for one in both]
    first, *others = [
        {**_named(one), "layers": await _aside(request, read, deadline)}
        for one, read in zip(both, reads, strict=True)
    ]
    if chosen == "png":
        return await _figure(request, "weights", model, query, deadline, layer)
    return _json({**first, "against": others[0]} if others else first)


async def _figure(
    request: Request, kind: Kind, model: Model, query: ReportQuery, deadline: float, layer: str | None = None
) -> Response:
    service = service_of(request)
    artifacts = service.settings.artifacts
    models = [model, *(_against(request, query) if isinstance(query, ComparedQuery) else [])]
    files = [_needed(one, kind) for one in models]
    figure = FigureRequest(
        kind=kind,
        artifacts=artifacts.resolve(),
        models=tuple((one.name, one.version) for one in models),
        # Those that are served: a version may have been published anew since, and the JSON tells of this one.
        manifests=tuple(one.manifest.model_dump_json() for one in models),
        layer=layer,
        theme=query.theme,
    )
    if not service.figures.has(figure):
        for one, names in zip(models, files, strict=True):
            # In this process, which can say what is wrong.
            await _aside(request, partial(unchanged, artifacts, one.manifest, names), deadline)
        if kind == "calibration":
            await _aside(request, partial(samples_folder, artifacts, model.manifest.dataset), deadline)
    picture = await service.figures.draw(figure, deadline, still_connected(request))
    return Response(picture, headers={"Vary": "Accept"}, media_type=FORMATS["png"])


def _needed(model: Model, kind: Kind) -> list[str]:
    """The files that are drawn from. Raises NotInArtifact before a process is started for one that is not there."""
    files = {"training": HISTORY, "weights": WEIGHT_STATISTICS, "calibration": TEST_PROBABILITIES}
    if kind not in files:
        return []
    if files[kind] not in model.manifest.files:
        raise NotInArtifact(f"{model.name} {model.version} was published without {files[kind]}")
    return [files[kind]]


def _against(request: Request, query: ComparedQuery) -> list[Model]:
    return [] if query.against is None else [find_model(request, query.against, VersionQuery())]


def _report(request: Request, model: Model) -> Report:
    return Report(service_of(request).settings.artifacts, model.manifest)


class _Named(TypedDict):
    model: str
    version: str


def _named(model: Model) -> _Named:
    return {"model": model.name, "version": model.version}


def _bins(test_answers: TestAnswers, model: Model, samples: SampleSet) -> list[Bin]:
    found = test_answers.of(model.manifest, samples)
    return reliability(found.probabilities, found.labels)


async def _aside(request: Request, work: Callable[[], T], deadline: float) -> T:
    return await service_of(request).aside.do(work, deadline, still_connected(request))


def _json(body: object) -> Response:
    return Response(to_json(body), headers={"Vary": "Accept"}, media_type=FORMATS["json"])
