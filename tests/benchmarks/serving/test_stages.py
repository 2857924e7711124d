"""What a part takes, for one image."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.serving import batch_stages, engine_alone, stages
from tests.benchmarks.serving.batch_path import DIFFERENT_DIGITS
from tests.benchmarks.serving.bench import CONNECTIONS, DIGITS
from tests.benchmarks.serving.beside_no_ops import ROWS
from tests.benchmarks.serving.engine_alone import Engine
from tests.benchmarks.serving.messages import test_images as images_of
from tests.service.shipped import linked


class Clock:
    """A millisecond passes from one look at it to the next, half of which the processor was used for."""

    def __init__(self) -> None:
        self._looks = 0

    def perf_counter(self) -> float:
        self._looks += 1
        return self._looks / 1000

    def process_time(self) -> float:
        return self._looks / 2000


async def nothing() -> None:
    pass


async def test_time_is_divided_by_the_calls_and_among_those_that_wait_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hundred calls between two looks: five microseconds each, and some for the looks before and after them."""
    calls: list[int] = []
    monkeypatch.setattr(stages, "time", Clock())
    assert stages.timed(lambda: calls.append(1), 0.0105) == pytest.approx(5, rel=0.15)
    assert len(calls) == 1001  # the first of them is not counted
    monkeypatch.setattr(stages, "time", Clock())
    assert await stages.awaited(nothing, 0.0105) == pytest.approx(5, rel=0.15)
    monkeypatch.setattr(stages, "time", Clock())
    assert await stages.together(nothing, 0.0105) == pytest.approx(5 / CONNECTIONS, rel=0.15)


@pytest.fixture
def of_a_second(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is timed takes a second, and what does nothing a fifth of one; only the digits' net is there."""

    async def taking(work: Any, seconds: float) -> float:
        return 0.2e6 if work is stages._empty else 1e6

    monkeypatch.setenv("CONVSCOPE_ARTIFACTS", str(linked(tmp_path, DIGITS)))
    monkeypatch.setenv("CONVSCOPE_ENGINE", "onnxruntime")
    monkeypatch.setattr(stages, "together", taking)
    for module in (stages, batch_stages):
        monkeypatch.setattr(module, "awaited", taking)
        monkeypatch.setattr(module, "timed", lambda work, seconds: 1e6)


@pytest.mark.usefixtures("of_a_second")
async def test_a_part_is_told_without_what_times_it_and_the_engine_for_one_image() -> None:
    found = await stages.stages(rows=8, seconds=0.0)
    alone = dict.fromkeys(("application", "routing", "body", "queue"), 0.8e6)
    assert found == pytest.approx(
        alone | dict.fromkeys(("decode", "ranking", "JSON"), 1e6) | {"engine": 1e6 / 8}
    )


@pytest.mark.usefixtures("of_a_second")
async def test_parts_of_a_batch_are_told_for_one_image() -> None:
    found = await batch_stages.stages(seconds=0.0)
    assert found.pop("inflating different") == pytest.approx(1e6 / DIFFERENT_DIGITS)
    assert set(found.values()) == {1e6 / ROWS}


def test_the_engines_rate_is_that_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run a millisecond, for half of which the processor was used."""
    monkeypatch.setattr(engine_alone, "time", Clock())
    model: Any = SimpleNamespace(infer=lambda images: None)
    best = engine_alone._best(model, images_of("mnist", 8), 0.1005)
    assert best.per_second == pytest.approx(8 * 1000, rel=0.15)
    assert best.processor_us == pytest.approx(500 / 8, rel=0.15)


def test_an_engine_is_measured_with_the_rows_that_are_fastest() -> None:
    said = iter(
        ['{"engine": "it", "sweep": {"1": 10, "2": 40, "4": 30}}', '{"per_second": 7, "processor_us": 3}']
    )
    orders: list[str] = []
    process: Any = SimpleNamespace(
        stdin=SimpleNamespace(write=orders.append, flush=lambda: None),
        stdout=SimpleNamespace(readline=lambda: next(said)),
    )
    assert Engine(process, "mnist").measure(0.5) == (7, 3)
    assert orders == ["mnist 2 0.5\n"]
