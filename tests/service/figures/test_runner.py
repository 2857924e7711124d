"""service.figures.runner: one process at a time, with a limit, and answers kept."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from service.callers import CallerGoneError
from service.errors import DeadlinePassed, NotReady, QueueFull
from service.figures import runner
from service.figures.request import FigureRequest
from service.figures.runner import FigureError, Figures
from service.manifest import MANIFEST
from tests.service.shipped import ARTIFACTS, latest

REQUEST = FigureRequest(
    kind="confusion-matrix",
    artifacts=ARTIFACTS,
    manifests=((latest("mnist-baseline") / MANIFEST).read_text(encoding="utf-8"),),
)


NEVER = float("inf")


def another() -> FigureRequest:
    return REQUEST.model_copy(update={"theme": "dark"})


class HeldFigures(Figures):
    """Which takes as long as a test wants."""

    def __init__(self) -> None:
        super().__init__(time_limit=60, max_bytes=10**6)
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.drawn: list[FigureRequest] = []

    async def _run(self, request: FigureRequest) -> bytes:
        self.begun.set()
        await self.go.wait()
        self.drawn.append(request)
        return b"picture"


@pytest.fixture
async def figures() -> AsyncIterator[Figures]:
    figures = Figures(time_limit=60, max_bytes=10**6)
    yield figures
    await figures.close()


@pytest.fixture
async def held() -> AsyncIterator[HeldFigures]:
    figures = HeldFigures()
    yield figures
    await figures.close()


async def test_the_same_figure_is_drawn_once_for_all_who_wait(figures: Figures) -> None:
    assert not figures.has(REQUEST)
    one, two = await asyncio.gather(figures.draw(REQUEST, NEVER), figures.draw(REQUEST, NEVER))
    assert one is two
    assert Image.open(BytesIO(one)).format == "PNG"
    assert await figures.draw(REQUEST, NEVER) is one
    assert figures.has(REQUEST)


async def test_a_figure_that_takes_too_long_is_given_up() -> None:
    figures = Figures(time_limit=0.01, max_bytes=0)
    with pytest.raises(DeadlinePassed, match=r"longer than 0\.01 s"):
        await figures.draw(REQUEST, NEVER)
    await figures.close()


async def test_a_figure_that_cannot_be_drawn_is_an_error_and_may_be_asked_for_again(
    figures: Figures, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        with pytest.raises(FigureError):
            await figures.draw(REQUEST.model_copy(update={"kind": "weights", "layer": "nothing"}), NEVER)
    failed = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(failed) == 2
    for message in failed:
        assert message.startswith("no figure for weights of mnist-baseline 1, layer nothing: ")


async def test_what_cannot_be_drawn_from_now_is_told_in_the_words_of_the_process(figures: Figures) -> None:
    elsewhere = REQUEST.model_copy(update={"kind": "weights", "artifacts": Path("/nowhere")})
    with pytest.raises(NotReady, match=r"^mnist-baseline 1 cannot be looked into: weights\.json is missing$"):
        await figures.draw(elsewhere, NEVER)


async def test_a_process_that_cannot_be_started_is_told(
    figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fails)
    with pytest.raises(NotReady, match=r"^no figure can be drawn now: Too many open files$"):
        await figures.draw(REQUEST, NEVER)


def run_instead(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    start = asyncio.create_subprocess_exec

    async def start_program(python: str, *_: str, **options: Any) -> asyncio.subprocess.Process:
        return await start(python, "-c", program, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_program)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
async def test_a_process_that_a_signal_ended_is_no_failure_and_may_be_asked_for_again(
    figures: Figures, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    program = f"import os, signal; signal.signal(2, signal.SIG_DFL); os.kill(os.getpid(), signal.{name})"
    run_instead(monkeypatch, program)
    with pytest.raises(NotReady, match=r"^the figure's process was stopped before it was done; ask again"):
        await figures.draw(REQUEST, NEVER)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_signals_to_the_services_group_do_not_reach_the_process(
    figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_instead(monkeypatch, "import os; print(os.getpgrp() == os.getsid(0) == os.getpid())")
    assert await figures.draw(REQUEST, NEVER) == b"True\n"


# There is nowhere that it may write to, which is not to be had for root.
READ_ONLY = """
import tempfile
def nowhere(*_, **__):
    raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")
tempfile.mkdtemp = nowhere
from service.figures.__main__ import main
main()
"""


async def test_without_a_folder_to_write_to_nothing_is_drawn_and_the_reason_is_told(
    figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(**_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    run_instead(monkeypatch, READ_ONLY)
    monkeypatch.setattr("service.figures.runner.tempfile.TemporaryDirectory", nowhere)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    with pytest.raises(
        NotReady, match=r"^no figure can be drawn: there is no folder that Matplotlib may write to$"
    ):
        await figures.draw(REQUEST, NEVER)


async def test_what_is_begun_is_finished_for_who_asks_again_and_what_nobody_waits_for_is_not_begun(
    held: HeldFigures,
) -> None:
    first = asyncio.create_task(held.draw(REQUEST, NEVER))
    await held.begun.wait()
    soon = asyncio.get_running_loop().time() + 0.01
    for request, why in ((REQUEST, "it is being drawn"), (another(), "others are drawn before it")):
        with pytest.raises(DeadlinePassed, match=f"{why}; ask again"):
            await held.draw(request, soon)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    held.go.set()
    assert await held.draw(REQUEST, NEVER) == b"picture"
    assert held.drawn == [REQUEST]
    assert await held.draw(another(), NEVER) == b"picture"
    assert held.drawn == [REQUEST, another()]


async def test_what_none_of_those_who_wait_wants_when_its_turn_comes_is_not_begun(held: HeldFigures) -> None:
    first = asyncio.create_task(held.draw(REQUEST, NEVER))
    await held.begun.wait()
    gone = [asyncio.create_task(held.draw(another(), NEVER, lambda: False)) for _ in range(2)]
    await asyncio.sleep(0)
    held.go.set()
    assert await first == b"picture"
    outcomes = await asyncio.gather(*gone, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [CallerGoneError, CallerGoneError]
    assert held.drawn == [REQUEST]


async def test_one_who_still_waits_has_it_drawn(held: HeldFigures) -> None:
    first = asyncio.create_task(held.draw(REQUEST, NEVER))
    await held.begun.wait()
    others = [
        asyncio.create_task(held.draw(another(), NEVER, wanted)) for wanted in (lambda: False, lambda: True)
    ]
    await asyncio.sleep(0)
    held.go.set()
    assert await asyncio.gather(first, *others) == 3 * [b"picture"]


async def test_one_who_comes_when_a_figure_is_given_up_has_it_drawn_and_shares_it(held: HeldFigures) -> None:
    coming = list[asyncio.Task[bytes]]()

    def gone() -> bool:
        held.go.clear()
        coming.append(asyncio.create_task(held.draw(another(), NEVER)))
        return False

    first = asyncio.create_task(held.draw(REQUEST, NEVER))
    await held.begun.wait()
    given_up = asyncio.create_task(held.draw(another(), NEVER, gone))
    await asyncio.sleep(0)
    held.go.set()
    assert await first == b"picture"
    with pytest.raises(CallerGoneError):
        await given_up
    coming.append(asyncio.create_task(held.draw(another(), NEVER)))
    await asyncio.sleep(0)
    held.go.set()
    assert await asyncio.gather(*coming) == [b"picture", b"picture"]
    assert held.drawn == [REQUEST, another()]


async def test_what_is_kept_counts_with_the_manifests_it_was_drawn_from(held: HeldFigures) -> None:
    held.go.set()
    long = [REQUEST.model_copy(update={"manifests": (letter * 600_000,)}) for letter in "ab"]
    for request in long:
        await held.draw(request, NEVER)
    assert [held.has(request) for request in long] == [False, True]


async def test_more_than_may_wait_are_refused(held: HeldFigures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "MAX_WAITING", 1)
    waiting = asyncio.create_task(held.draw(REQUEST, NEVER))
    await held.begun.wait()
    with pytest.raises(QueueFull):
        await held.draw(another(), NEVER)
    held.go.set()
    assert await waiting == b"picture"
    assert await held.draw(another(), NEVER) == b"picture"


async def test_those_whom_nobody_waits_for_any_more_take_no_place(
    held: HeldFigures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MAX_WAITING", 2)
    drawn = asyncio.create_task(held.draw(REQUEST, NEVER))
    await held.begun.wait()
    left = asyncio.create_task(held.draw(another(), NEVER, lambda: False))
    await asyncio.sleep(0)
    newcomer = asyncio.create_task(held.draw(REQUEST.model_copy(update={"kind": "weights"}), NEVER))
    await asyncio.sleep(0)
    held.go.set()
    assert [await drawn, await newcomer] == [b"picture"] * 2
    with pytest.raises(CallerGoneError):
        await left


async def test_a_service_that_stops_leaves_no_process(figures: Figures) -> None:
    waiting = asyncio.create_task(figures.draw(REQUEST, NEVER))
    await asyncio.sleep(0)
    await figures.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
