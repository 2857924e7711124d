"""/models/{model}/feature-maps: what every layer makes of an image."""

import base64
from functools import partial
from typing import Annotated, NamedTuple
from urllib.parse import quote, urlencode

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from numpy.typing import NDArray
from pydantic import Field
from pydantic_core import to_json

from service.dependencies import (
    FILE_FIELD,
    ModelName,
    deadline_of,
    find_model,
    image_of,
    prepare_options,
    preprocessing_of,
    refuse_repeated,
    service_of,
    still_connected,
)
from service.errors import (
    BlankImage,
    DeadlinePassed,
    InvalidParameter,
    NotAcceptable,
    NotAnImage,
    NotInArtifact,
    NotReady,
    Problem,
    QueueFull,
    TooManyBytes,
    TooManyPixels,
    UndecodableImage,
    UnknownDataset,
    UnknownLayer,
    UnknownModel,
    UnknownSample,
    UnknownVersion,
    brief,
)
from service.feature_maps import Activations, find_layer, parse_channels, refuse_without_graph, statistics
from service.formats import choose_format
from service.manifest import Layer
from service.model import Model
from service.openapi import BINARY, Responses, example, one_image, problems
from service.pictures.colours import Theme
from service.pictures.feature_maps import Maps, Scale, draw
from service.pictures.png import png
from service.routes import inside_examples
from service.routes.numpy_files import npy, npz
from service.schemas import PreparationQuery, VersionQuery
from service.schemas_inside import AboutImage, FeatureMapList, FeatureMapValues, LayerMaps, Numbers

OF_A_LAYER = {
    "json": "application/json",
    "png": "image/png",
    "npy": "application/x-npy",
    "npz": "application/x-npz",
}
OF_ALL = {kind: OF_A_LAYER[kind] for kind in ("json", "npz")}
ONLY_OF_A_LAYER = " and ".join(kind for kind in OF_A_LAYER if kind not in OF_ALL)

router = APIRouter(tags=["feature maps"], dependencies=[Depends(refuse_repeated)])


class _Shown(VersionQuery):
    layer: str | None = Field(
        None,
        description="one layer's maps; without it, a summary (shape, minimum, mean, maximum) of every layer",
        examples=["", "conv2d"],
    )
    channels: str | None = Field(None, description="of the layer: 0,3-7; all by default")
    scale: Scale = Field(
        "layer",
        description="what a png's colours span: this layer's values, each channel's own, or (global) "
        "this layer's values over many test images",
    )
    theme: Theme = Field("light", description="of the png")
    format: str | None = Field(
        None,
        description=f"else by Accept, else json; {ONLY_OF_A_LAYER} need `layer`",
        json_schema_extra={"enum": list(OF_A_LAYER)},
    )


class SampleMapsQuery(_Shown):
    """Of which test image, which layer, and how."""

    sample: int = Field(0, description="a test image of the model's data set, in the original order")


class ImageMapsQuery(_Shown, PreparationQuery):
    """Which layer, how, and how the image is prepared."""


class _Looked(NamedTuple):
    """A model, what its layers made of an image, and what to say of that image."""

    model: Model
    maps: Activations
    about: AboutImage
    query: SampleMapsQuery | ImageMapsQuery


def _documented(body: object, *kinds: type[Problem]) -> Responses:
    others = {media_type: BINARY for kind, media_type in OF_A_LAYER.items() if kind != "json"}
    text = "the layers, or one layer's maps as numbers, a picture, or a NumPy file"
    common = problems(
        UnknownModel, UnknownVersion, UnknownLayer, *kinds, NotInArtifact, NotAcceptable, InvalidParameter,
        QueueFull, NotReady, DeadlinePassed,
    )  # fmt: skip
    return example(body, text, others) | common


@router.get(
    "/models/{model}/feature-maps",
    operation_id="get_feature_maps",
    response_model=FeatureMapList | FeatureMapValues,
    responses=_documented(inside_examples.FEATURE_MAPS, UnknownDataset, UnknownSample),
)
async def get_feature_maps(
    request: Request, model: ModelName, query: Annotated[SampleMapsQuery, Query()]
) -> Response:
    """What every layer makes of a test image; with `layer`, that layer's maps."""
    served = find_model(request, model, query)
    chosen = _check(request, served, query)
    service = service_of(request)
    deadline = deadline_of(service)
    dataset = served.manifest.dataset
    samples = await service.samples.of(dataset, deadline)
    image, label = samples.at(query.sample)
    maps = await service.feature_maps.of(served.manifest, image, deadline, still_connected(request))
    about: AboutImage = {
        "sample": {"dataset": dataset, "index": query.sample, "label": samples.classes[label]}
    }
    return await _respond(request, _Looked(served, maps, about, query), chosen, deadline)


@router.post(
    "/models/{model}/feature-maps",
    operation_id="make_feature_maps",
    response_model=FeatureMapList | FeatureMapValues,
    responses=_documented(
        inside_examples.FEATURE_MAPS_OF_AN_IMAGE,
        TooManyBytes, TooManyPixels, NotAnImage, UndecodableImage, BlankImage,
    ),
    openapi_extra=one_image(FILE_FIELD),
)  # fmt: skip
async def make_feature_maps(
    request: Request, model: ModelName, query: Annotated[ImageMapsQuery, Query()]
) -> Response:
    """What every layer makes of the image sent; with `layer`, that layer's maps.

    The image is not kept: it is to be sent again to the answer's links, where GET shows a test sample.
    """
    served = find_model(request, model, query)
    chosen = _check(request, served, query)
    service = service_of(request)
    upload = await image_of(request, service.settings, query)
    deadline = deadline_of(service)
    wanted = still_connected(request)
    prepared = await service.preparer.prepare(
        upload.data, served.manifest.input, prepare_options(query), deadline, wanted=wanted
    )
    maps = await service.feature_maps.of(served.manifest, prepared.image, deadline, wanted)
    about: AboutImage = {"preprocessing": preprocessing_of(prepared), "warnings": prepared.warnings}
    return await _respond(request, _Looked(served, maps, about, query), chosen, deadline)


def _check(request: Request, model: Model, query: _Shown) -> str:
    """The format to answer in; refuses what cannot be answered before anything is computed."""
    refuse_without_graph(model.manifest)
    if query.layer is not None:
        parse_channels(query.channels, find_layer(model.manifest, query.layer))
        return choose_format(request, OF_A_LAYER)
    a_layer = f"layer={model.manifest.layers[0].name}"
    if query.channels is not None:
        raise InvalidParameter(f"channels={brief(query.channels)} needs a layer, as {a_layer}")
    return choose_format(request, OF_ALL, f"{ONLY_OF_A_LAYER} need a layer, as {a_layer}")


async def _respond(request: Request, looked: _Looked, chosen: str, deadline: float) -> Response:
    service = service_of(request)
    if looked.query.layer is None:
        takes_long = chosen == "npz"
        make = partial(npz, looked.maps) if takes_long else partial(_list, looked)
    else:
        takes_long = chosen == "png"
        layer = find_layer(looked.model.manifest, looked.query.layer)
        make = partial(_one_layer, looked, layer, chosen)
    lane = service.drawing if takes_long else service.aside
    content = await lane.do(make, deadline, still_connected(request))
    return Response(content, headers={"Vary": "Accept"}, media_type=OF_A_LAYER[chosen])


def _list(looked: _Looked) -> bytes:
    body: FeatureMapList = {
        "model": looked.model.name,
        "version": looked.model.version,
        **looked.about,
        "layers": [
            _summary(looked, layer, looked.maps[layer.name]) for layer in looked.model.manifest.layers
        ],
    }
    return to_json(body)


def _summary(looked: _Looked, layer: Layer, values: NDArray[np.float32]) -> LayerMaps:
    found = statistics(values)
    return {
        "name": layer.name,
        "type": layer.type,
        "shape": layer.shape,
        "minimum": found.minimum,
        "mean": found.mean,
        "maximum": found.maximum,
        "dead_channels": found.dead_channels,
        "links": {kind: _link(looked, layer, kind) for kind in ("png", "npy", "json")},
    }


def _link(looked: _Looked, layer: Layer, kind: str) -> str:
    """The same image, layer and preparation in one format."""
    defaults = type(looked.query)()
    chosen = looked.query.model_dump(exclude={"layer", "channels", "format"})
    changed = {name: value for name, value in chosen.items() if value != getattr(defaults, name)}
    if isinstance(looked.query, SampleMapsQuery):
        changed["sample"] = looked.query.sample
    parameters = urlencode({**changed, "layer": layer.name, "format": kind})
    return f"/models/{quote(looked.model.name)}/feature-maps?{parameters}"


def _one_layer(looked: _Looked, layer: Layer, chosen: str) -> bytes:
    channels = parse_channels(looked.query.channels, layer)
    whole = looked.maps[layer.name]
    in_order = channels == list(range(layer.shape[-1]))  # all of them may be asked for in another
    values = whole if in_order else whole[..., channels]
    match chosen:
        case "png":
            return _picture(looked, layer, values, channels)
        case "npy":
            return npy(values)
        case "npz":
            return npz({layer.name: values})
    return to_json(_values(looked, layer, values, channels))


def _values(
    looked: _Looked, layer: Layer, values: NDArray[np.float32], channels: list[int]
) -> FeatureMapValues:
    one_map = values.ndim > 1 and len(channels) == 1
    shown = values[..., 0] if one_map else values
    numbers: Numbers = (
        {"values": shown.tolist()}
        if one_map or values.ndim == 1
        else {"data": base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()}
    )
    return {
        "model": looked.model.name,
        "version": looked.model.version,
        **looked.about,
        "layer": _summary(looked, layer, looked.maps[layer.name]),
        "channels": channels,
        "shape": list(shown.shape),
        **numbers,
    }


def _picture(looked: _Looked, layer: Layer, values: NDArray[np.float32], channels: list[int]) -> bytes:
    whole, query = looked.maps[layer.name], looked.query
    over_many = query.scale == "global"
    classes = looked.model.classes
    maps = Maps(
        layer=layer.name,
        values=values,
        shape=tuple(layer.shape),
        channels=channels,
        low=layer.minimum if over_many else float(whole.min()),
        high=layer.maximum if over_many else float(whole.max()),
        signed=layer.minimum < 0 or float(whole.min()) < 0,
        scale=query.scale,
        labels=[classes[unit] for unit in channels] if layer.shape == [len(classes)] else (),
    )
    return png(draw(maps, query.theme))
