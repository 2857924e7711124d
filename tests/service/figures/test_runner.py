"""service.figures.runner: one process at a time, with a limit, and answers kept."""

import asyncio
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from service.errors import DeadlinePassed, QueueFull
from service.figures.request import FigureRequest
from service.figures.runner import MAX_WAITING, FigureError, Figures
from tests.service.shipped import ARTIFACTS, latest

REQUEST = FigureRequest(
    kind="confusion-matrix", artifacts=ARTIFACTS, models=(("mnist-baseline", latest("mnist-baseline").name),)
)


@pytest.fixture
def figures() -> Iterator[Figures]:
    figures = Figures(time_limit=60, max_bytes=10**6)
    yield figures
    figures.close()


async def test_the_same_figure_is_drawn_once_for_all_who_wait(figures: Figures) -> None:
    one, two = await asyncio.gather(figures.draw(REQUEST), figures.draw(REQUEST))
    assert one is two
    assert Image.open(BytesIO(one)).format == "PNG"
    assert await figures.draw(REQUEST) is one


async def test_a_figure_that_takes_too_long_is_given_up() -> None:
    figures = Figures(time_limit=0.01, max_bytes=0)
    with pytest.raises(DeadlinePassed):
        await figures.draw(REQUEST)
    figures.close()


async def test_a_figure_that_cannot_be_drawn_is_an_error(figures: Figures) -> None:
    with pytest.raises(FigureError):
        await figures.draw(REQUEST.model_copy(update={"artifacts": Path("/nowhere")}))


async def test_more_than_may_wait_are_refused() -> None:
    figures = Figures(time_limit=0.01, max_bytes=0)
    waiting = [asyncio.create_task(figures.draw(REQUEST)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await figures.draw(REQUEST)
    for task in waiting:
        task.cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)
    figures.close()
