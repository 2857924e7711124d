"""A model whose engine is busy for as long as a test wants it to be."""

import asyncio
import threading
from typing import Self

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray

PATIENCE = 60.0
"""seconds after which a test has gone wrong. No time limit of pytest's ends a thread, and a process waits for its
threads: nothing in one may wait for ever."""


class HeldEngine:
    """Stands before a model's engine: runs wait in their thread until `go` is set, which it is at the end of `with`."""

    def __init__(self, app: FastAPI, version: str | None = None) -> None:
        model = app.state.service.store.snapshot.find("mnist", version)
        self.engine = model._engine
        self.outputs = self.engine.outputs
        self.rows = 0
        self.busy = threading.Event()
        self.go = threading.Event()
        model._engine = self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        self.rows += len(images)
        self.busy.set()
        if not self.go.wait(PATIENCE):
            self.go.set()  # those that come after it need not wait too
            raise TimeoutError("nobody let the engine go")
        answers: list[NDArray[np.float32]] = self.engine.run(images)
        return answers

    async def until_busy(self) -> None:
        """Until it has a run that it holds."""
        assert await asyncio.to_thread(self.busy.wait, PATIENCE), "nothing was run"


async def waiting(app: FastAPI, rows: int, version: str | None = None) -> None:
    """Until so many rows are queued."""
    model = app.state.service.store.snapshot.find("mnist", version)
    async with asyncio.timeout(PATIENCE):
        while model.waiting_rows < rows:  # noqa: ASYNC110 — the queue tells nobody when it grows
            await asyncio.sleep(0)
