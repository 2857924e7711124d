"""Fixtures that every test may use."""

import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.app import create_app
from service.manifest import DATASET, TEST_IMAGES, DatasetManifest, file_entry
from service.settings import Settings
from tests.service.stripes import CLASSES, SHAPES, stripe, write_aliases, write_model

# Settings: figures are drawn when nothing else is to be done.
PATIENT = {"deadline": 100.0, "figure_time": 100.0}

SET = re.compile("CONVSCOPE_.*|PORT|WEB_CONCURRENCY|.*_PROXY", re.IGNORECASE)
"""variables that decide what the service does and whom its clients ask; by any case of letters"""


def pytest_configure(config: pytest.Config) -> None:
    """Before tests are collected: some have an application made for them then."""
    context = ExitStack()
    context.enter_context(nothing_set())
    config.add_cleanup(context.close)


@contextmanager
def nothing_set() -> Iterator[None]:
    """Without the variables that settings and proxies are read from, which a shell may have set. Where the original
    data are is no setting of the service's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - {"CONVSCOPE_DATA"}:
            if SET.fullmatch(name):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def as_from_a_terminal() -> None:
    """nohup, and `&` in a script, have signals ignored, by what the tests start too: there they are as elsewhere."""
    # A handler, unlike what is ignored, is not for other programs: by them these signals do what they do by default.
    for number, handler in [(signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, lambda *_: None)]:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Two models of stripes, with the aliases mnist and cifar10, and five test images of each data set."""
    write_model(tmp_path, "stripes")
    write_model(tmp_path, "stripes-colour", dataset="cifar10")
    write_aliases(tmp_path, {"mnist": "stripes", "cifar10": "stripes-colour"})
    for dataset in SHAPES:
        folder = tmp_path / "datasets" / dataset
        folder.mkdir(parents=True)
        images = np.stack([stripe(digit, dataset) for digit in range(5)])
        np.savez_compressed(folder / TEST_IMAGES, images=images, labels=np.arange(5, dtype=np.uint8))
        about = DatasetManifest(
            name=dataset,
            classes=CLASSES[dataset],
            images=len(images),
            shape=images.shape[1:],
            licence="made for these tests",
            files={TEST_IMAGES: file_entry(folder / TEST_IMAGES)},
        )
        (folder / DATASET).write_text(about.model_dump_json())
    return tmp_path


@asynccontextmanager
async def serving(artifacts: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running service, without a network between them."""
    # What runs without the extras; test_engines has the others.
    app = create_app(Settings(artifacts=artifacts, **{"engine": "onnxruntime", **settings}))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            yield client


@pytest.fixture
async def client(artifacts: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Serves `artifacts` with the default settings."""
    async with serving(artifacts) as client:
        yield client
