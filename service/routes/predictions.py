"""POST /predict/…: an image in, the class out."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from service.dependencies import (
    FILE_FIELD,
    FILES_FIELD,
    ModelName,
    Service,
    count_of_classes,
    deadline_of,
    image_of,
    images_of,
    prepare_options,
    preprocessing_of,
    service_of,
    still_connected,
)
from service.errors import (
    BlankImage,
    DeadlinePassed,
    InvalidParameter,
    NotAnImage,
    NotReady,
    Problem,
    QueueFull,
    TooManyBytes,
    TooManyPixels,
    UndecodableImage,
    UnknownModel,
    UnknownVersion,
)
from service.images import Prepared, PrepareOptions
from service.lanes import Begun
from service.model import Model
from service.openapi import example, many_images, one_image, problems
from service.problem_responses import instance_of
from service.ranking import Ranking, hesitation, rank
from service.routes import examples
from service.routes.direct import DirectRoute, json_response
from service.schemas import (
    BatchAnswer,
    BatchPrediction,
    BatchProblem,
    BatchQuery,
    Prediction,
    PredictionQuery,
    PreparationQuery,
    RankedClass,
    TopK,
    TopKQuery,
)
from service.uploads import Upload

PROBLEMS = problems(
    UnknownModel, UnknownVersion, TooManyBytes, TooManyPixels, NotAnImage, UndecodableImage, BlankImage,
    InvalidParameter, QueueFull, NotReady, DeadlinePassed,
)  # fmt: skip
BATCH_PROBLEMS = problems(
    UnknownModel,
    UnknownVersion,
    TooManyBytes,
    NotAnImage,
    InvalidParameter,
    QueueFull,
    NotReady,
    DeadlinePassed,
)

router = APIRouter(tags=["predictions"], route_class=DirectRoute)


@router.post(
    "/predict/{model}",
    operation_id="predict",
    response_model=Prediction,
    responses=example(examples.PREDICTION) | PROBLEMS,
    openapi_extra=one_image(FILE_FIELD),
)
async def predict(request: Request, model: ModelName, query: Annotated[PredictionQuery, Query()]) -> Response:
    """The class of one image, how sure the model is, and what was done to the image first."""
    service = service_of(request)
    served = service.find(model, query.version)
    count = count_of_classes("top_k", query, served)
    prepared, ranking = await _answer(request, service, served, query)
    return json_response(_prediction(served, prepared, ranking, count, with_input=query.include == "input"))


@router.post(
    "/predict/{model}/top-k",
    operation_id="predict_top_k",
    response_model=TopK,
    responses=example(examples.TOP_K) | PROBLEMS,
    openapi_extra=one_image(FILE_FIELD),
)
async def predict_top_k(request: Request, model: ModelName, query: Annotated[TopKQuery, Query()]) -> Response:
    """The k likeliest classes of one image."""
    service = service_of(request)
    served = service.find(model, query.version)
    count = count_of_classes("k", query, served)
    _, ranking = await _answer(request, service, served, query)
    body: TopK = {
        "model": served.name,
        "version": served.version,
        "top": _top(ranking, served.classes, count),
    }
    return json_response(body)


@router.post(
    "/predict/{model}/batch",
    operation_id="predict_batch",
    response_model=BatchPrediction,
    responses=example(examples.BATCH) | BATCH_PROBLEMS,
    openapi_extra=many_images(FILES_FIELD),
)
async def predict_batch(
    request: Request, model: ModelName, query: Annotated[BatchQuery, Query()]
) -> Response:
    """One result or problem for each image, in order: an image that cannot be read fails no other."""
    service = service_of(request)
    served = service.find(model, query.version)
    count = count_of_classes("top_k", query, served)
    uploads = await images_of(request, service.settings, query)
    options = prepare_options(query)
    size = served.part_rows
    results: list[BatchAnswer | BatchProblem] = []
    # Every part has the whole time of one request.
    with served.begin(len(uploads), deadline_of(service), due=size) as begun:
        for start in range(0, len(uploads), size):
            part = uploads[start : start + size]
            answers = _answer_each(request, served, part, options, count, begun, goes_on=start > 0)
            results += await answers
            begun.left = len(uploads) - start - len(part)
    body: BatchPrediction = {"model": served.name, "version": served.version, "results": results}
    return json_response(body)


def of_one_image() -> dict[str, DirectRoute]:
    """The routes that answer one image, by path."""
    return _routes("/predict/{model}", "/predict/{model}/top-k")


def of_many_images() -> dict[str, DirectRoute]:
    """Those that answer many at once."""
    return _routes("/predict/{model}/batch")


def _routes(*paths: str) -> dict[str, DirectRoute]:
    return {
        route.path: route for route in router.routes if isinstance(route, DirectRoute) and route.path in paths
    }


async def _answer(
    request: Request, service: Service, model: Model, query: PreparationQuery
) -> tuple[Prepared, Ranking]:
    model.refuse_if_full()
    upload = await image_of(request, service.settings, query)
    deadline = deadline_of(service)
    wanted = still_connected(request)
    prepared = await service.preparer.prepare(
        upload.data, model.manifest.input, prepare_options(query), deadline, wanted=wanted
    )
    probabilities = await model.predict(prepared.image[None], deadline=deadline, wanted=wanted)
    return prepared, rank(probabilities)[0]


async def _answer_each(
    request: Request,
    model: Model,
    uploads: list[Upload],
    options: PrepareOptions,
    count: int,
    begun: Begun,
    *,
    goes_on: bool,
) -> Iterator[BatchAnswer | BatchProblem]:
    """As many images as one run takes, each with the whole time of one request."""
    service = service_of(request)
    deadline = deadline_of(service)
    wanted = still_connected(request)
    files = [upload.data for upload in uploads]
    prepared = await service.preparer.prepare_each(
        files, model.manifest.input, options, deadline, wanted=wanted, goes_on=goes_on
    )
    images = [one.image for one in prepared if isinstance(one, Prepared)]
    rankings: Iterator[Ranking] = iter(())
    if images:
        stacked = np.concatenate(images).reshape(-1, *images[0].shape)  # `stack` looks at each in Python
        probabilities = await model.predict(stacked, deadline=deadline, wanted=wanted, begun=begun)
        rankings = iter(rank(probabilities, max(count, 2)))  # a hesitation is between two
    return (
        _batch_problem(request, upload, one)
        if isinstance(one, Problem)
        else _batch_answer(upload, one, next(rankings), model, count)
        for upload, one in zip(uploads, prepared, strict=True)
    )


def _prediction(
    model: Model, prepared: Prepared, ranking: Ranking, count: int, *, with_input: bool
) -> Prediction:
    best = ranking.indices[0]
    body: Prediction = {
        "model": model.name,
        "version": model.version,
        "label": model.classes[best],
        "index": best,
        "probability": ranking.probabilities[0],
        "top": _top(ranking, model.classes, count),
        "margin": ranking.margin,
        "entropy": ranking.entropy,
        "preprocessing": preprocessing_of(prepared),
        "warnings": _warnings(prepared, ranking, model),
    }
    if with_input:
        body["input"] = (
            prepared.image.squeeze(-1).tolist() if prepared.image.shape[-1] == 1 else prepared.image.tolist()
        )
    return body


def _batch_answer(
    upload: Upload, prepared: Prepared, ranking: Ranking, model: Model, count: int
) -> BatchAnswer:
    best = ranking.indices[0]
    return {
        "file": upload.name,
        "label": model.classes[best],
        "index": best,
        "probability": ranking.probabilities[0],
        "top": _top(ranking, model.classes, count),
        "margin": ranking.margin,
        "entropy": ranking.entropy,
        "warnings": _warnings(prepared, ranking, model),
    }


def _batch_problem(request: Request, upload: Upload, problem: Problem) -> BatchProblem:
    return {"file": upload.name, "problem": problem.body(instance_of(request.scope))}


def _top(ranking: Ranking, classes: list[str], count: int) -> list[RankedClass]:
    return [
        {"label": classes[index], "index": index, "probability": probability}
        for index, probability in zip(ranking.indices[:count], ranking.probabilities, strict=False)
    ]


def _warnings(prepared: Prepared, ranking: Ranking, model: Model) -> list[str]:
    doubt = hesitation(ranking, model.classes)
    return prepared.warnings if doubt is None else [*prepared.warnings, doubt]
