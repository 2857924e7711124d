"""What a picture says, which its pixels do not tell a test."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import pytest
from PIL import ImageDraw, ImageFont

Box = tuple[float, ...]
"""left, top, right and bottom, px"""


class Line(NamedTuple):
    """One text in a picture: its anchor, and the box of its ink."""

    text: str
    place: tuple[float, float]
    box: Box


def apart(boxes: Sequence[Box], size: tuple[int, int]) -> bool:
    """Whether none overlaps another or the edge of a picture of this width and height."""
    inside = all(min(box) >= 0 and box[2] <= size[0] and box[3] <= size[1] for box in boxes)
    return inside and not any(_overlap(*pair) for pair in combinations(boxes, 2))


def _overlap(one: Box, other: Box) -> bool:
    return max(one[0], other[0]) < min(one[2], other[2]) and max(one[1], other[1]) < min(one[3], other[3])


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Line]:
    """The lines of every picture drawn in the test, in the order they are written."""
    written = list[Line]()
    write = ImageDraw.ImageDraw.text

    def note(
        pen: ImageDraw.ImageDraw,
        place: tuple[float, float],
        text: str,
        colour: tuple[int, int, int],
        font: ImageFont.FreeTypeFont,
        **options: Any,
    ) -> None:
        written.append(Line(text, place, pen.textbbox(place, text, font, **options)))
        write(pen, place, text, colour, font, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return written
