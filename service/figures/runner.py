"""Figures on request: each drawn once, in a process of its own, so that neither Matplotlib's memory nor its time
with the GIL is the service's."""

import asyncio
import logging
import os
import sys
import tempfile
from collections import OrderedDict

from service.errors import DeadlinePassed, QueueFull
from service.figures.request import FigureRequest
from service.settings import ROOT

MAX_WAITING = 16

log = logging.getLogger("convscope.figures")


class FigureError(Exception):
    """The process ended without a figure."""


class Figures:
    """Runs `python -m service.figures`, one at a time, and remembers its latest answers."""

    def __init__(self, *, time_limit: float, max_bytes: int) -> None:
        self._time_limit = time_limit
        self._max_bytes = max_bytes
        self._kept: OrderedDict[FigureRequest, bytes] = OrderedDict()
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    async def draw(self, request: FigureRequest) -> bytes:
        """A PNG file. Raises QueueFull, DeadlinePassed, FigureError."""
        if request in self._kept:
            self._kept.move_to_end(request)
            return self._kept[request]
        if self._waiting >= MAX_WAITING:
            raise QueueFull(f"{self._waiting} figures are waited for already")
        self._waiting += 1
        try:
            async with self._turn:
                if request not in self._kept:  # else whoever was before drew the same
                    self._keep(request, await self._run(request))
                return self._kept[request]
        finally:
            self._waiting -= 1

    def close(self) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()

    async def _run(self, request: FigureRequest) -> bytes:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service.figures",
            stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, env=self._environment(),
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._time_limit):
                picture, said = await process.communicate(request.model_dump_json().encode())
        except TimeoutError:
            raise DeadlinePassed(f"the figure took longer than {self._time_limit:g} s") from None
        finally:
            if process.returncode is None:  # too late, or nobody waits for it any more
                process.kill()
                await process.wait()
        if process.returncode or not picture:
            log.error("no figure for %s: %s", request, said.decode(errors="replace"))
            raise FigureError(f"the figure process ended with {process.returncode}")
        return picture

    def _environment(self) -> dict[str, str]:
        # Where the home folder cannot be written, Matplotlib would look through all fonts for every figure.
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="convscope-figures-")
        return {"MPLCONFIGDIR": self._scratch.name, **os.environ, "MPLBACKEND": "agg"}

    def _keep(self, request: FigureRequest, picture: bytes) -> None:
        self._kept[request] = picture
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self._max_bytes:
            self._kept.popitem(last=False)
