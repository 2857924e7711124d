"""Which batch sizes an engine is tried with."""

from typing import Any

import pytest

from tests.benchmarks.serving import engine_alone
from tests.benchmarks.serving.engine_alone import LONG_RUN, ROWS, Best
from tests.benchmarks.serving.messages import test_images as images_of

IMAGES = images_of("mnist", max(ROWS))


@pytest.mark.parametrize(
    ("seconds_a_row", "largest"), [(LONG_RUN / 1000, max(ROWS)), (LONG_RUN / 20, 32), (2 * LONG_RUN, 1)]
)
def test_no_batch_is_tried_beyond_the_first_that_takes_long(
    monkeypatch: pytest.MonkeyPatch, seconds_a_row: float, largest: int
) -> None:
    tried: list[int] = []

    def timed(model: Any, images: Any, seconds: float) -> Best:
        tried.append(len(images))
        return Best(1 / seconds_a_row, 1e6 * seconds_a_row)

    monkeypatch.setattr(engine_alone, "_best", timed)
    found = engine_alone._sweep(model=None, images=IMAGES)  # type: ignore[arg-type]
    assert tried == list(found) == [rows for rows in ROWS if rows <= largest]
