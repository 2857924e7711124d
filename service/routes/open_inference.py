"""/v2/…: the Open Inference Protocol (REST), with binary tensors and classification."""

from contextlib import nullcontext
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Path, Request, Response
from numpy.typing import NDArray

from service.callers import Wanted
from service.dependencies import ModelName, Service, deadline_of, service_of, still_connected
from service.errors import (
    DeadlinePassed,
    InvalidParameter,
    NotReady,
    QueueFull,
    TooManyBytes,
    TooManyPixels,
    UnknownModel,
    UnknownVersion,
)
from service.images import Prepared, PrepareOptions
from service.manifest import IMAGE_INPUT, PROBABILITIES
from service.model import Model
from service.open_inference.outputs import LABEL, Floats, choose, is_layer, make
from service.open_inference.request import LENGTH_HEADER, Bounds, InferRequest, parse
from service.open_inference.response import render
from service.open_inference.schemas import (
    InferAnswer,
    Live,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
)
from service.openapi import example, open_inference_errors
from service.problem_responses import OPEN_INFERENCE
from service.routes import open_inference_examples as examples
from service.routes.direct import PathRoute, ReadyResponse, json_response
from service.routes.health import refuse_without_models
from service.routes.open_inference_bodies import LENGTH_NAME, unpack
from service.uploads import read_body

EXTENSIONS = ["binary_tensor_data", "classification"]
ONNX = "onnx_onnxv1"  # the protocol's name for an ONNX file
PLATFORMS = {"tensorflow": "tensorflow_keras"}  # by the engine, which reads another file: <project>_<format>
BINARY = b"application/octet-stream"

VersionName = Annotated[str, Path(description="a version of the model", examples=["1"])]
ANSWERS = examples.answers(LENGTH_HEADER) | open_inference_errors(
    InvalidParameter, UnknownModel, UnknownVersion, TooManyBytes, TooManyPixels, QueueFull, NotReady,
    DeadlinePassed,
)  # fmt: skip
NOT_THERE = open_inference_errors(InvalidParameter, UnknownModel, UnknownVersion)
NOT_READY = open_inference_errors(InvalidParameter, UnknownModel, UnknownVersion, NotReady)

router = APIRouter(prefix=OPEN_INFERENCE, tags=["open inference protocol"], route_class=PathRoute)


@router.post(
    "/models/{model}/infer",
    operation_id="v2_infer",
    response_model=InferAnswer,
    responses=ANSWERS,
    openapi_extra=examples.bodies(LENGTH_HEADER),
)
async def infer(request: Request, model: ModelName) -> Response:
    """Images as a tensor in, probabilities and labels out; any layer's feature map by its name.

    The input `image` is UINT8 [-1,H,W,C], the same as FP32 from 0 to 1, or BYTES [-1] (or [-1,1]): encoded images,
    which are prepared as POST /predict does (base64 when they stand in JSON).
    """
    return await _infer(request, model)


@router.post(
    "/models/{model}/versions/{version}/infer",
    operation_id="v2_infer_version",
    response_model=InferAnswer,
    responses=ANSWERS,
    openapi_extra=examples.bodies(LENGTH_HEADER),
)
async def infer_version(request: Request, model: ModelName, version: VersionName) -> Response:
    """The same of one version of the model."""
    return await _infer(request, model, version)


@router.get(
    "",
    operation_id="v2_server",
    response_model=ServerMetadata,
    responses=example(examples.SERVER) | open_inference_errors(InvalidParameter),
)
async def server(request: Request) -> Response:
    """What answers here, and the protocol's extensions it has."""
    _refuse_query(request)
    app = request.scope["app"]
    body: ServerMetadata = {"name": "convscope", "version": app.version, "extensions": EXTENSIONS}
    return json_response(body)


@router.get("/health/live", operation_id="v2_live", response_model=Live, responses=example({"live": True}))
async def live(request: Request) -> Response:
    """The process answers."""
    return json_response(Live(live=True))


@router.get(
    "/health/ready",
    operation_id="v2_ready",
    response_model=Ready,
    responses=example({"ready": True}) | open_inference_errors(NotReady),
)
async def ready(request: Request) -> Response:
    """There are models to answer with."""
    refuse_without_models(service_of(request).store.snapshot)
    return json_response(Ready(ready=True))


@router.get(
    "/models/{model}",
    operation_id="v2_model",
    response_model=ModelMetadata,
    responses=example(examples.MODEL) | NOT_THERE,
)
async def model_metadata(request: Request, model: ModelName) -> Response:
    """What the latest version takes and gives."""
    return _metadata(request, model)


@router.get(
    "/models/{model}/versions/{version}",
    operation_id="v2_model_version",
    response_model=ModelMetadata,
    responses=example(examples.MODEL) | NOT_THERE,
)
async def version_metadata(request: Request, model: ModelName, version: VersionName) -> Response:
    """What this version takes and gives."""
    return _metadata(request, model, version)


@router.get(
    "/models/{model}/ready",
    operation_id="v2_model_ready",
    response_model=ModelReady,
    responses=example(examples.MODEL_READY) | NOT_READY,
)
async def model_ready(request: Request, model: ModelName) -> Response:
    """The model answers; one that was refused is not there."""
    return _ready(_find(request, model))


@router.get(
    "/models/{model}/versions/{version}/ready",
    operation_id="v2_model_version_ready",
    response_model=ModelReady,
    responses=example(examples.MODEL_READY) | NOT_READY,
)
async def version_ready(request: Request, model: ModelName, version: VersionName) -> Response:
    """The version answers; one that was refused is not there."""
    return _ready(_find(request, model, version))


def _ready(model: Model) -> Response:
    if model.unavailable is not None:
        raise model.refused_as_it_is()
    return json_response(ModelReady(name=model.name, ready=True))


def of_many_images() -> dict[str, PathRoute]:
    """The route of inference by a model's latest version, by its path."""
    [route] = [one for one in router.routes if isinstance(one, PathRoute) and one.operation_id == "v2_infer"]
    return {route.path: route}


def _find(request: Request, name: str, version: str | None = None) -> Model:
    """By name or alias."""
    _refuse_query(request)
    return service_of(request).find(name, version)


def _refuse_query(request: Request) -> None:
    """Who asks for `?version=1` would be answered by another. Probes take a query, as those outside /v2 do."""
    if request.scope["query_string"]:
        raise InvalidParameter(
            "there are no parameters here; a version has a path of its own, /v2/models/{model}/versions/{version}"
        )


def _metadata(request: Request, name: str, version: str | None = None) -> Response:
    model = _find(request, name, version)
    spec = model.manifest.input
    body: ModelMetadata = {
        "name": model.name,
        "versions": list(service_of(request).store.snapshot.versions[model.name]),
        "platform": PLATFORMS.get(model.engine.name, ONNX),
        "inputs": [
            {
                "name": IMAGE_INPUT,
                "datatype": "UINT8",
                "shape": [-1, spec.height, spec.width, spec.channels],
            }
        ],
        "outputs": [
            {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, len(model.classes)]},
            {"name": LABEL, "datatype": "BYTES", "shape": [-1]},
        ],
    }
    return json_response(body)


async def _infer(request: Request, name: str, version: str | None = None) -> Response:
    service = service_of(request)
    settings, model = service.settings, _find(request, name, version)
    body = await read_body(request, settings.max_batch_bytes)
    model.refuse_if_full()
    deadline = deadline_of(service)
    body, json_length = await unpack(request, body, settings.max_batch_bytes)
    bounds = Bounds(settings.max_json_bytes, settings.max_batch_files)
    asked = parse(body, json_length, model.manifest.input, bounds)
    outputs = choose(asked, model.manifest, settings.max_batch_bytes)
    wanted = still_connected(request)
    layers = [one.name for one in outputs if is_layer(one)]
    answers: dict[str, Floats] = {}
    runs, count = len(layers) < len(outputs), len(asked.images)
    with model.begin(count, deadline) if runs and count > 1 else nullcontext() as begun:
        images = await _pixels(service, model, asked, deadline, wanted)
        if runs:
            answers[PROBABILITIES] = await model.predict(
                images, deadline=deadline, wanted=wanted, begun=begun
            )
    if layers:
        answers |= await _feature_maps(service, model, images, layers, deadline, wanted)
    head = {"model_name": model.name, "model_version": model.version}
    if asked.id is not None:
        head["id"] = asked.id
    content, length = render(head, [make(one, answers, model.classes) for one in outputs])
    if length is None:
        return ReadyResponse(content)
    return ReadyResponse(content, BINARY, (LENGTH_NAME, b"%d" % length))


async def _pixels(
    service: Service, model: Model, asked: InferRequest, deadline: float, wanted: Wanted
) -> NDArray[np.uint8]:
    """uint8 [N,H,W,C]. One image that cannot be prepared fails the request: a tensor has no gaps."""
    if not isinstance(asked.images, list):
        return asked.images
    size = model.part_rows
    images: list[NDArray[np.uint8]] = []
    for start in range(0, len(asked.images), size):
        files = asked.images[start : start + size]
        for one in await service.preparer.prepare_each(
            files, model.manifest.input, PrepareOptions(), deadline, wanted=wanted, goes_on=start > 0
        ):
            if not isinstance(one, Prepared):
                raise type(one)(f"{IMAGE_INPUT}: element {len(images)}: {one.detail}")
            images.append(one.image)
    return np.stack(images)


async def _feature_maps(
    service: Service,
    model: Model,
    images: NDArray[np.uint8],
    layers: list[str],
    deadline: float,
    wanted: Wanted,
) -> dict[str, Floats]:
    """float32 [N,…] of each layer. Image by image, so that whoever looks at a picture gets a turn between."""
    rows = []
    for image in images:
        maps = await service.feature_maps.of(model.manifest, image, deadline, wanted)
        rows.append([maps[name] for name in layers])
    return {name: np.stack(values) for name, values in zip(layers, zip(*rows, strict=True), strict=True)}
