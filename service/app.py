"""create_app: the one place where the service is put together."""

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from uvicorn.config import STARTUP_FAILURE

from service.admission import Limits
from service.aside import Aside
from service.dependencies import Service
from service.engines import Engine, EngineMissingError, choose_precision, load, open_graph
from service.feature_maps import FeatureMaps
from service.figures.runner import Figures
from service.gate import Gate
from service.hard_examples import TestAnswers
from service.manifest import Manifest
from service.metrics import Metrics
from service.middleware import Observer
from service.model import Model
from service.model_store import ModelStore
from service.open_inference.request import LENGTH_HEADER
from service.openapi import describe
from service.preparation import Preparer, decoding_threads
from service.problem_responses import add_error_handlers
from service.routes import (
    documentation,
    feature_maps,
    hard_examples,
    health,
    models,
    open_inference,
    predictions,
    problems,
    reports,
    samples,
)
from service.samples import Samples
from service.settings import Settings
from service.short_way import ShortWay, Ways

DESCRIPTION = "Serve small image classifiers, look inside them, and see where they fail."
VERSION = "0.1.0"

YOUNG_OBJECTS = 50_000
"""More containers than at the last time make the garbage collector look for cycles. What is being answered is none, and
of thousands of requests it is many times Python's 700: looking through it took a sixth of the time of 4,096 clients.
Requests leave no cycles (tests/service/test_garbage.py)."""

DECODING = 0.5
"""Of the time allowed for a request, what an image may have to wait before it is decoded: enough is left for the rest,
and for images that take longer than the latest did."""

METHODS = ("GET", "HEAD", "POST")
EXPOSED_HEADERS = ("Allow", "Retry-After", LENGTH_HEADER)
"""What a page of another origin may not read unless it is told so, and needs to understand an answer."""

# In the order in which a path is looked up: the busiest first.
ROUTERS = (
    predictions, open_inference, models, samples, feature_maps, hard_examples, reports, health, problems, documentation
)  # fmt: skip

log = logging.getLogger("convscope")


def create_app(settings: Settings, *, owns_process: bool = False) -> FastAPI:
    """The whole service, not yet started: models are opened in its lifespan, before the first request.

    While it is up, a process that it owns, which does nothing else, has its garbage collector set for serving.
    Raises EngineMissingError where the engine that is set does not work; a process that it owns says so, and ends.
    """
    try:
        service = _put_together(settings)
    except EngineMissingError as error:
        if not owns_process:
            raise
        sys.stderr.write(f"the settings cannot be used: CONVSCOPE_ENGINE={settings.engine}: {error}\n")
        sys.exit(STARTUP_FAILURE)  # by which a supervisor knows that another process would do no better
    app = FastAPI(
        title="Convscope",
        summary=DESCRIPTION,
        version=VERSION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_url=None,  # our own, which is counted as every route is
        docs_url=None,  # our own, without the network
        redoc_url=None,
        redirect_slashes=False,
        # /metrics tells; FastAPI's own asks the environment three times for each request whether it is on.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan,
    )
    app.state.service = service
    app.state.owns_process = owns_process
    for module in ROUTERS:
        # Not include_router: a route of an included router is matched twice for each request.
        app.router.routes.extend(module.router.routes)
    app.router.routes.append(documentation.assets())
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    add_error_handlers(app)
    of_many = predictions.of_many_images() | open_inference.of_many_images()
    ways = Ways(app.state.service.store, predictions.of_one_image(), of_many)
    app.add_middleware(ShortWay, ways=ways)
    app.add_middleware(Observer, metrics=app.state.service.metrics, log_access=settings.access_log)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=METHODS,
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    elif not settings.access_log:
        # Only where no other middleware has something to do for these requests.
        app.state.gate = Gate(app, ways, app.state.service.metrics)
    return app


def _put_together(settings: Settings) -> Service:
    engine = load(settings.engine)
    metrics = Metrics()
    limits = Limits(
        settings.max_batch_rows,
        settings.max_batch_wait,
        settings.max_queue_rows,
        settings.max_queue_delay,
        settings.max_overload_delay,
    )

    def make_model(manifest: Manifest, opened: Engine) -> Model:
        return Model(manifest, opened, limits, settings.inline_run, partial(metrics.batch, manifest.name))

    aside = Aside(max_waiting=settings.max_aside)
    # Always in float32, whatever predicts: the values are those of the trained net.
    open_feature_maps = partial(open_graph, name="onnxruntime", threads=1)

    def load_engine(graph: Path, manifest: Manifest) -> Engine:
        faithful = manifest.bfloat16 is not None and manifest.bfloat16.faithful
        precision = choose_precision(settings.precision, faithful=faithful)
        return open_graph(graph, engine, threads=settings.threads_of_worker, precision=precision)

    keep_open = "all" if engine == "tensorflow" else settings.keep_open
    return Service(
        settings=settings,
        store=ModelStore(
            settings.artifacts, load_engine, make_model, keep_open=keep_open, idle=settings.engine_idle
        ),
        preparer=Preparer(
            threads=decoding_threads(settings.workers),
            max_pixels=settings.max_pixels,
            max_waiting=settings.max_decoding,
            max_delay=DECODING * settings.deadline,
        ),
        samples=Samples(settings.artifacts),
        metrics=metrics,
        aside=aside,
        drawing=Aside(max_waiting=settings.max_aside, name="drawing"),
        feature_maps=FeatureMaps(
            settings.artifacts, open_feature_maps, aside, idle=settings.feature_maps_idle
        ),
        test_answers=TestAnswers(settings.artifacts),
        figures=Figures(time_limit=settings.figure_time, max_bytes=settings.figure_cache_bytes),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    await service.store.reload()
    _tell_what_is_missing(service)
    drain = service.settings.drain
    with _collected_seldom() if app.state.owns_process else nullcontext():
        tending = asyncio.create_task(service.store.tend())
        try:
            yield
        except asyncio.CancelledError:
            drain = 0.0  # somebody who had told it to stop did so again, and does not want to wait
        tending.cancel()
    # The server has stopped accepting by now; what it accepted is finished, then everything is released.
    await service.store.drain(drain)
    service.preparer.close()
    service.feature_maps.close()
    service.aside.close()
    service.drawing.close()
    await service.figures.close()
    log.info("stopped")


def _tell_what_is_missing(service: Service) -> None:
    wanted = {model.manifest.dataset for model in service.store.snapshot.all()}
    for dataset in sorted(wanted.difference(service.samples.datasets())):
        log.warning(
            "there are no test images of %s: its samples, hard examples and feature maps of samples are not served",
            dataset,
        )


@contextmanager
def _collected_seldom() -> Iterator[None]:
    # What is there now stays: the collector, which would look through all of it time and again, leaves it alone.
    gc.collect()
    gc.freeze()
    usual = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, *usual[1:])
    gc.enable()
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
