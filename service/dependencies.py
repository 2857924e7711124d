"""What endpoints need, as nouns. Look-up-or-404 lives here once."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request

from service.aside import Aside
from service.callers import Wanted
from service.errors import InvalidParameter, listed
from service.feature_maps import FeatureMaps
from service.figures.runner import Figures
from service.hard_examples import TestAnswers
from service.images import Prepared, PrepareOptions
from service.metrics import Metrics
from service.model import Model
from service.model_store import ModelStore, Snapshot
from service.preparation import Preparer
from service.samples import Samples
from service.schemas import KnownQuery, PreparationQuery, Preprocessing, VersionQuery
from service.settings import Settings
from service.uploads import Upload, read_many, read_one

FILE_FIELD = "file"
FILES_FIELD = "files"

ModelName = Annotated[
    str, Path(description="a model or an alias: GET /models lists them", examples=["mnist-baseline"])
]


@dataclass(frozen=True)
class Service:
    """The parts of a running service. `create_app` makes it; every request finds it at `app.state.service`."""

    settings: Settings
    store: ModelStore
    preparer: Preparer
    samples: Samples
    metrics: Metrics
    aside: Aside
    """for what is quick, and all that reads files or keeps something"""
    drawing: Aside
    """for what takes long and is made of what is at hand: so much of it keeps nobody from the rest"""
    feature_maps: FeatureMaps
    test_answers: TestAnswers
    figures: Figures

    def find(self, name: str, version: str | None) -> Model:
        """By name or alias; the latest version unless told. Raises UnknownModel, UnknownVersion."""
        return self.store.snapshot.find(name, version)


def service_of(request: Request) -> Service:
    service: Service = request.scope["app"].state.service
    return service


def find_model(request: Request, name: str, query: VersionQuery) -> Model:
    """By name or alias. Raises UnknownModel, UnknownVersion."""
    return service_of(request).find(name, query.version)


async def refuse_repeated(request: Request) -> None:
    """A parameter that is given twice would count once, and nobody would know which. Raises InvalidParameter."""
    given = request.query_params.multi_items()
    if len({name for name, _ in given}) < len(given):
        times = Counter(name for name, _ in given)
        twice = sorted(name for name in times if times[name] > 1)
        raise InvalidParameter(f"{listed(twice)} {'is' if len(twice) == 1 else 'are'} given more than once")


async def model_of(request: Request, model: ModelName, query: Annotated[VersionQuery, Query()]) -> Model:
    return find_model(request, model, query)


async def snapshot_of(request: Request) -> Snapshot:
    return service_of(request).store.snapshot


async def samples_of(request: Request) -> Samples:
    return service_of(request).samples


ModelDep = Annotated[Model, Depends(model_of)]
SnapshotDep = Annotated[Snapshot, Depends(snapshot_of)]
SamplesDep = Annotated[Samples, Depends(samples_of)]


def image_of(request: Request, settings: Settings, query: KnownQuery) -> Coroutine[Any, Any, Upload]:
    """The request's one image, as bytes. Raises NotAnImage, TooManyBytes, InvalidParameter."""
    return read_one(
        request,
        field=FILE_FIELD,
        max_bytes=settings.max_body_bytes,
        parameters=query.parameters,
    )


def images_of(request: Request, settings: Settings, query: KnownQuery) -> Coroutine[Any, Any, list[Upload]]:
    """The request's images, as bytes, in order. Raises NotAnImage, TooManyBytes, InvalidParameter."""
    return read_many(
        request,
        field=FILES_FIELD,
        max_bytes=settings.max_batch_bytes,
        max_files=settings.max_batch_files,
        parameters=query.parameters,
    )


def deadline_of(service: Service) -> float:
    """When an answer that is begun now must be ready, on the loop's clock."""
    return asyncio.get_running_loop().time() + service.settings.deadline


def still_connected(request: Request) -> Wanted:
    """Asks whether the client is still there.

    ASGI tells of a disconnect only to who awaits `receive`, a task more for each request; uvicorn's
    `receive` belongs to an object that knows at once. Behind another server every client counts as there.
    """
    cycle = getattr(request.receive, "__self__", None)
    return lambda: not getattr(cycle, "disconnected", False)


def count_of_classes(name: str, query: KnownQuery, model: Model) -> int:
    """The parameter of this name; as many as there are where nobody asked for more. Raises InvalidParameter when the
    model has fewer classes than were asked for."""
    count: int = getattr(query, name)
    classes = len(model.classes)
    if count > classes and name in query.model_fields_set:
        raise InvalidParameter(
            f"{name} is {count}; {model.name} has {classes} classes, so it goes from 1 to {classes}"
        )
    return min(count, classes)


def prepare_options(query: PreparationQuery) -> PrepareOptions:
    """What a query says of how its images are prepared."""
    return PrepareOptions(query.preprocess, query.invert, query.fit)


def preprocessing_of(prepared: Prepared) -> Preprocessing:
    """What an answer says of it."""
    return {
        "steps": prepared.steps,
        "inverted": prepared.inverted,
        "box": list(prepared.box) if prepared.box else None,
        "ink_share": prepared.ink_share,
    }
