"""Figures on request: each drawn once, in a process of its own, so that neither Matplotlib's memory nor its time
with the GIL is the service's."""

import asyncio
import logging
import os
import sys
import tempfile
from collections import OrderedDict
from contextlib import suppress
from itertools import starmap

from service.callers import CallerGoneError, Wanted, always
from service.errors import DeadlinePassed, NotReady, QueueFull
from service.figures.request import NOT_READY, FigureRequest
from service.settings import ROOT

MAX_WAITING = 16  # figures: one takes half a second or more, so who came behind these would wait for nothing

log = logging.getLogger("convscope.figures")


class FigureError(Exception):
    """The process ended without a figure."""


class _Drawing:
    """One figure that is being drawn, or is going to be."""

    task: asyncio.Task[bytes]
    begun = False

    def __init__(self) -> None:
        self.waiting: list[Wanted] = []
        """of each who waits, whether they still do"""

    def is_wanted(self) -> bool:
        return any(wanted() for wanted in self.waiting)


def _read(task: asyncio.Task[bytes]) -> None:
    """Whoever waited may be gone: its failure is not left unread."""
    if not task.cancelled():
        task.exception()


class Figures:
    """Runs `python -m service.figures`, one at a time, and remembers its latest answers."""

    def __init__(self, *, time_limit: float, max_bytes: int) -> None:
        self._time_limit = time_limit
        self._max_bytes = max_bytes
        self._kept: OrderedDict[FigureRequest, bytes] = OrderedDict()
        self._turn = asyncio.Semaphore(1)
        self._drawings: dict[FigureRequest, _Drawing] = {}
        """those that are waited for"""
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def has(self, request: FigureRequest) -> bool:
        """Whether it need not be drawn any more."""
        return request in self._kept

    async def draw(self, request: FigureRequest, deadline: float, wanted: Wanted = always) -> bytes:
        """A PNG file, by `deadline` on the loop's clock. Raises QueueFull, DeadlinePassed, NotReady, FigureError, or
        CallerGoneError where it is `wanted` by none of those who wait for it when its turn comes.

        What is begun is finished, for whoever asks again; what nobody waits for any more is not begun.
        """
        if request in self._kept:
            self._kept.move_to_end(request)
            return self._kept[request]
        drawing = self._drawings.get(request) or self._begin(request)
        drawing.waiting.append(wanted)
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(drawing.task)
        except TimeoutError:
            why = "it is being drawn" if drawing.begun else "others are drawn before it"
            raise DeadlinePassed(
                f"the figure was not ready within the time allowed for one request: {why}; ask again"
            ) from None
        finally:
            drawing.waiting.remove(wanted)
            if not (drawing.waiting or drawing.begun):
                drawing.task.cancel()
                self._drop(request, drawing)

    async def close(self) -> None:
        tasks = [drawing.task for drawing in self._drawings.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._scratch is not None:
            self._scratch.cleanup()

    def _begin(self, request: FigureRequest) -> "_Drawing":
        ahead = sum(one.begun or one.is_wanted() for one in self._drawings.values())
        if ahead >= MAX_WAITING:
            raise QueueFull(f"{ahead} figures are waited for already")
        drawing = self._drawings[request] = _Drawing()
        drawing.task = asyncio.create_task(self._make(request, drawing))
        drawing.task.add_done_callback(_read)
        return drawing

    async def _make(self, request: FigureRequest, drawing: "_Drawing") -> bytes:
        try:
            async with self._turn:
                if not drawing.is_wanted():
                    raise CallerGoneError
                drawing.begun = True
                picture = await self._run(request)
                self._keep(request, picture)
                return picture
        finally:
            self._drop(request, drawing)

    def _drop(self, request: FigureRequest, drawing: "_Drawing") -> None:
        if self._drawings.get(request) is drawing:  # and not that of somebody who has asked since
            del self._drawings[request]

    async def _run(self, request: FigureRequest) -> bytes:
        process = await self._start()
        try:
            async with asyncio.timeout(self._time_limit):
                picture, said = await process.communicate(request.model_dump_json().encode())
        except TimeoutError:
            raise DeadlinePassed(f"the figure took longer than {self._time_limit:g} s") from None
        finally:
            if process.returncode is None:  # too late, or nobody waits for it any more
                process.kill()
                await process.wait()
        if process.returncode == NOT_READY:
            raise NotReady(said.decode(errors="replace").splitlines()[-1])
        if (process.returncode or 0) < 0:  # by the operator, or for want of memory
            log.warning("no figure for %s: signal %d ended its process", request, -(process.returncode or 0))
            raise NotReady("the figure's process was stopped before it was done; ask again in a moment")
        if process.returncode or not picture:
            log.error("no figure for %s: %s", request, said.decode(errors="replace"))
            raise FigureError(f"the figure process ended with {process.returncode}")
        return picture

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        try:
            # In a session of its own: a Ctrl-C is for the service, which still answers what it has accepted.
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "service.figures",
                stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, env=self._environment(), start_new_session=True,
            )  # fmt: skip
        except OSError as error:  # no more files may be open, or no more processes be there
            # uvloop has no number for it where too many files are open.
            why = error.strerror if (error.errno or 0) > 0 else "too many files are open"
            raise NotReady(f"no figure can be drawn now: {why}") from error

    def _environment(self) -> dict[str, str]:
        # Where the home folder cannot be written, Matplotlib would look through all fonts for every figure.
        if self._scratch is None and "MPLCONFIGDIR" not in os.environ:
            with suppress(OSError):  # there is no such folder; the process will say whether it needs one
                self._scratch = tempfile.TemporaryDirectory(prefix="convscope-figures-")
        scratch = {} if self._scratch is None else {"MPLCONFIGDIR": self._scratch.name}
        return {**scratch, **os.environ, "MPLBACKEND": "agg"}

    def _keep(self, request: FigureRequest, picture: bytes) -> None:
        self._kept[request] = picture
        while len(self._kept) > 1 and sum(starmap(_size, self._kept.items())) > self._max_bytes:
            self._kept.popitem(last=False)


def _size(request: FigureRequest, picture: bytes) -> int:
    return len(picture) + sum(map(len, request.manifests))
