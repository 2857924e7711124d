"""One loaded model: its manifest, its engine and the batcher in front of it."""

import asyncio
import logging
import timeit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import monotonic, perf_counter

import numpy as np
from numpy.typing import NDArray

from service.admission import Limits
from service.batcher import Batcher
from service.callers import Wanted, always
from service.engines import Engine
from service.errands import hand_over
from service.errors import NotReady, QueueFull
from service.lanes import Begun
from service.manifest import PROBABILITIES, Manifest, served_bytes
from service.memory import give_back
from service.standby import Standby

SUM_TOLERANCE = 1e-3  # of probabilities; bf16 engines stay within
SCATTER = np.uint32(2_654_435_769)  # 2³² divided by the golden ratio: its multiples are spread like noise
TIMED_RUNS = 5
SLOW = 2
"""Times the limit: a run is not short where two of them took longer than that, whatever held them up."""
QUICK = 2  # times the limit: a run that is no longer than that may have more rows than usual
SEVERAL = 8  # rows, to tell what a row more takes
LATE = 4  # times its own length: a run that is noticed later than that is better done by the loop
FLOODED_RUN = 0.05
"""Seconds that a flooded loop may give to one model's run: the others wait for it. Four rows of the largest shipped net
take 14 ms on a fast core and 35 ms on a slow one."""
LAG_FADES = 0.9  # of what is remembered of the loop's lateness, with every run that the loop did itself


log = logging.getLogger("convscope.models")


class RefusedError(Exception):
    """A version folder cannot be served; the text is for the operator and for GET /models."""


class Model:
    """Answers batches of images. Safe to drop while requests hold it: the last one releases its engine. An engine on
    standby that was let go is opened for the next run, in the model's thread.

    Runs that take less than `inline_run` seconds are done by the event loop itself, others by a thread; unless
    the loop is so busy that it would not see them end before a good deal more time than they take.
    """

    def __init__(
        self,
        manifest: Manifest,
        engine: Engine,
        limits: Limits,
        inline_run: float = 0.0,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.manifest = manifest
        self.name, self.version, self.classes = manifest.name, manifest.version, manifest.classes
        self._engine = engine
        self._output = engine.outputs.index(PROBABILITIES)
        self._inline_run = inline_run
        self._inline_rows, self._most_rows = 0, limits.max_rows
        self._lag = 0.0
        self._used = monotonic()
        self.unavailable: str | None = None
        """Why its engine could not be opened again when that was tried last, if so"""
        # A thread of its own for each model, so that a slow one keeps no other from its engine.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{manifest.name}-{manifest.version}")
        self._batcher: Batcher[NDArray[np.float32]] = Batcher(self._run, limits, observe, self._at_once)
        self.admit_coming = self._batcher.admit_coming
        """As `refusal`, of an image that will be here in the loop's next turn, and is counted until then"""
        self.begin = self._batcher.begin
        """For many images of one request: what `predict` is to be told of them"""
        self.part_rows = self._batcher.part_rows
        """Images at most of what one caller has in a run"""

    @property
    def engine(self) -> Engine:
        """What runs its graph."""
        return self._engine

    @property
    def bytes(self) -> int:
        """Size of what serving needs: the graph and its weights."""
        return served_bytes(self.manifest)

    @property
    def waiting_rows(self) -> int:
        """Images in the queue now."""
        return self._batcher.waiting_rows

    def refusal(self) -> QueueFull | None:
        """Why one image more would be refused now, if it would: asked before work is put into decoding it."""
        return self._batcher.refusal()

    def count_refused(self, callers: int) -> None:
        """So many more as the one before them, for whom nobody asked `refusal`."""
        self._batcher.load.count(refused=True, now=asyncio.get_running_loop().time(), callers=callers)

    @property
    def rest(self) -> float:
        """Seconds for which a refused client need not be heard again; 0 where answering is hardly more work."""
        return self._batcher.load.rest

    @property
    def overloaded(self) -> bool:
        """Whether it has been refusing many for a while."""
        return self._batcher.load.overloaded

    def refuse_if_full(self) -> None:
        """Raises that, if there is one."""
        refused = self._batcher.refusal()
        if refused is not None:
            raise refused

    async def predict(
        self,
        images: NDArray[np.uint8],
        *,
        deadline: float = float("inf"),
        wanted: Wanted = always,
        begun: Begun | None = None,
    ) -> NDArray[np.float32]:
        """uint8 [N,H,W,C] → probabilities, float32 [N,classes]. Limits and errors: `Batcher.submit`."""
        parts = await self._batcher.submit(images, deadline=deadline, wanted=wanted, begun=begun)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same at once and in this thread, past the queue."""
        return self._engine.run(images)[self._output]

    def warm_up(self) -> None:
        """Runs noise, then black and white. Raises ValueError when an answer is not one probability for each class."""
        black = self._black(1)
        noise = (np.arange(black.size, dtype=np.uint32) * SCATTER >> 24).astype(np.uint8).reshape(black.shape)
        for images in (noise, np.concatenate([black, ~black])):
            self._check(self.infer(images), len(images))

    def _check(self, answer: NDArray[np.float32], rows: int) -> None:
        if answer.shape != (rows, len(self.classes)):
            raise ValueError(f"the graph gives {list(answer.shape)}, not [{rows}, {len(self.classes)}]")
        if not (np.all(answer >= 0) and np.all(np.abs(answer.sum(axis=1) - 1) <= SUM_TOLERANCE)):
            raise ValueError(
                "the graph's answer is no probabilities: they are negative or do not add up to 1"
            )

    def time_runs(self) -> None:
        """Finds out how many images are a run too short for a thread, and how many may wait before the first run.
        Beside other work it would find too few."""
        limit, one = self._inline_run, self._seconds(1)
        self._batcher.load.learn(1, one)
        if one > limit:
            return
        several = self._seconds(SEVERAL)
        # What a run takes at all, and more with every row.
        each = max((several - one) / (SEVERAL - 1), one / SEVERAL**2)
        self._inline_rows = int(min(1 + (limit - one) / each, self._most_rows))
        self._batcher.let_run(QUICK * self._inline_rows)

    def _black(self, rows: int) -> NDArray[np.uint8]:
        spec = self.manifest.input
        return np.zeros((rows, spec.height, spec.width, spec.channels), np.uint8)

    def _seconds(self, rows: int) -> float:
        """The fastest of some runs. A start waits for them: of a net that is slow, there are few."""
        images = self._black(rows)
        fastest = float("inf")
        for at in range(TIMED_RUNS):
            fastest = min(fastest, timeit.timeit(lambda: self.infer(images), number=1))
            if at and fastest > SLOW * self._inline_run:
                break
        return fastest

    def let_go(self, unused: float) -> bool:
        """Closes its engine until the next run, if it is one on standby and was not used for so many seconds; whether
        it did."""
        engine = self._engine
        if not isinstance(engine, Standby) or not engine.is_open or self._batcher.busy:
            return False
        if monotonic() - self._used < unused:
            return False
        engine.let_go()
        return True

    async def try_again(self) -> None:
        """Opens its engine where that failed when it was tried last. Whether it does now, `unavailable` says."""
        if self.unavailable is not None:
            with suppress(NotReady):
                await self._opened_by_thread()

    async def drain(self, limit: float) -> None:
        """Takes no more images and gives the queued ones `limit` seconds."""
        await self._batcher.drain(limit)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _at_once(self, images: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """By the event loop itself, where that is the better place; else None."""
        rows = len(images)
        if self._is_to_be_opened:
            return None
        if rows <= self._inline_rows or self._is_late(rows) or self._is_flooded(rows):
            self._used = monotonic()
            return self._timed_until(images)[0]
        return None

    async def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """By the model's thread. Raises NotReady where it cannot be started, and what `_open` does."""
        if self._is_to_be_opened:
            # By itself: what it takes is not what a row takes, nor for the loop to wait for.
            await self._opened_by_thread()
        self._used = monotonic()
        timed = hand_over(self._thread, partial(self._timed_until, images))
        answer, ended = await asyncio.wrap_future(timed)
        self._lag = perf_counter() - ended
        return answer

    @property
    def _is_to_be_opened(self) -> bool:
        """Before a run. One that is open and still counts as unavailable is being warmed up."""
        engine = self._engine
        return isinstance(engine, Standby) and not (engine.is_open and self.unavailable is None)

    async def _opened_by_thread(self) -> None:
        if isinstance(self._engine, Standby):
            await asyncio.wrap_future(hand_over(self._thread, partial(self._open, self._engine)))

    def _open(self, engine: Standby) -> None:
        """Raises NotReady where what is on the disk can no longer be served."""
        try:
            engine.open()
            self.warm_up()
        except Exception as error:
            engine.let_go()  # the next request tries again, and none is answered by what failed
            known = isinstance(error, RefusedError | ValueError)
            before = self.unavailable
            self.unavailable = str(error) if known else f"it failed in warm-up: {type(error).__name__}"
            refused = self.refused_as_it_is()
            if self.unavailable != before:  # each request finds it out anew
                log.warning(refused.detail, exc_info=None if known else error)
            raise refused from error
        if self.unavailable is not None:
            log.info("%s %s can be opened again", self.name, self.version)
        self.unavailable = None
        give_back()

    def refused_as_it_is(self) -> NotReady:
        """What a client is told while it is unavailable."""
        return NotReady(f"{self.name} {self.version} cannot be opened again: {self.unavailable}")

    def _is_late(self, rows: int) -> bool:
        """Whether the loop lately took much longer to notice the end of a run than this one will take.

        A turn of a loop that thousands of clients keep busy lasts a quarter of a second. The engine would idle
        for most of it; and who waits so long for a turn does not notice a run in it.
        """
        if self._lag <= self._inline_run or self._batcher.load.seconds(rows) * LATE > self._lag:
            return False
        self._lag *= LAG_FADES  # some such runs later a thread finds out again
        return True

    def _is_flooded(self, rows: int) -> bool:
        """Whether most callers are refused, so that the loop would interrupt the engine's thread all the time.

        On one core each of those interruptions costs both their caches. A loop that does a short run itself finds
        the callers of that time together after it.
        """
        return self.overloaded and self._batcher.load.seconds(rows) <= FLOODED_RUN

    def _timed_until(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """The answer, and when it was there."""
        started = perf_counter()
        answer = self.infer(images)
        _refuse_no_probabilities(answer)
        ended = perf_counter()
        self._batcher.load.learn(len(images), ended - started)
        return answer, ended


def _refuse_no_probabilities(answer: NDArray[np.float32]) -> None:
    """Raises ValueError where some row is none: NaN, or all zeros, which OpenVINO makes of it. One sum of all rows, far
    from what rounding does to it, takes 2 µs."""
    rows = len(answer)
    if not abs(answer.sum() - rows) < min(0.5 + SUM_TOLERANCE * rows, 0.999):
        raise ValueError("the engine's answer is no probabilities")
