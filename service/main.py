"""What uvicorn runs: `uvicorn service.main:app`. The only module that acts when it is imported."""

import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from multiprocessing import current_process, parent_process
from time import sleep
from typing import Any

from fastapi import FastAPI
from pydantic import ValidationError

from service.app import create_app
from service.manifest import ALIASES
from service.model_store import Snapshot
from service.settings import Settings, in_words
from service.workers import AGAIN, SUCCESSOR

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]

log = logging.getLogger("convscope")


def _settings() -> Settings:
    """Those of a worker could be used once. So it is the folder of the artifacts that has gone away, and may come back:
    not every supervisor waits before it starts the next."""
    try:
        return Settings()
    except ValidationError as error:
        sys.stderr.write(f"the settings cannot be used: {'; '.join(in_words(error))}\n")
    if parent_process() is not None:
        sleep(AGAIN)
    sys.exit(1)


def or_over(lifespan: Lifespan) -> Lifespan:
    """The same, but that the process ends where there is nothing to serve. One that takes the place of another could
    not do that; its supervisor keeps the other, or starts the next."""

    @asynccontextmanager
    async def checked(app: FastAPI) -> AsyncIterator[Any]:
        async with lifespan(app) as state:
            missing = _missing(app.state.service.store.snapshot)
            if missing is not None:
                log.error("this process takes no other's place: %s", missing)
                os._exit(1)  # uvicorn would make a start that failed of it, after which the service stops
            yield state

    return checked


def _missing(snapshot: Snapshot) -> str | None:
    if not snapshot.versions:
        return "there is no model to serve"
    unreadable = (one.reason for one in snapshot.refused if (one.name, one.version) == (ALIASES, None))
    return next((f"{ALIASES}: {reason}" for reason in unreadable), None)


app = create_app(_settings(), owns_process=True)
if current_process().name == SUCCESSOR:
    app.router.lifespan_context = or_over(app.router.lifespan_context)
