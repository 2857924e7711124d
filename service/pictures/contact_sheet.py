"""Hard examples side by side: each test image with what it is, what it was taken for, and how sure the net was."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.pictures.colours import PALETTES, Palette, Theme
from service.pictures.text import CAPTION, MARGIN, SMALL, TITLE, font, width

_TILE = 100  # px that an enlarged image comes close to
_SPACE = 12  # px between cells
_LINE = 15
_HEAD = 46
_FRAME = 3


@dataclass(frozen=True)
class Entry:
    """One image [H,W,C] uint8 with its captions."""

    image: NDArray[np.uint8]
    index: int
    true: str
    predicted: str
    probability_predicted: float
    probability_true: float
    loss: float
    disputed: bool

    def caption(self) -> str:
        """`9 → 4 (0.52 / 0.47)`"""
        return f"{self.true} → {self.predicted} {self.shares()}"

    def shares(self) -> str:
        return f"({_share(self.probability_predicted)} / {_share(self.probability_true)})"


class Layout(NamedTuple):
    """Where things stand, px. `cell` is the width of one column, `step` the height of one row."""

    width: int
    height: int
    columns: int
    tile: int
    cell: int
    step: int
    two_lines: bool

    def corner(self, entry: int) -> tuple[int, int]:
        """Left and top of an entry's image."""
        row, column = divmod(entry, self.columns)
        left = MARGIN + column * (self.cell + _SPACE) + (self.cell - self.tile) // 2
        return left, MARGIN + _HEAD + row * self.step


def part(offset: int, count: int, total: int) -> str:
    """What a title says of a page of `count` images: which of all that fit they are."""
    if not total:
        return "no test image fits"
    if not count:
        return f"past the last of {total:,}"
    if count == 1:
        return f"number {offset + 1:,} of {total:,}"
    return f"{offset + 1:,}–{offset + count:,} of {total:,}"


def draw(entries: Sequence[Entry], title: str, theme: Theme = "light") -> Image.Image:
    """The sheet, RGB. Without entries it is its title alone, which says why there are none."""
    palette, layout = PALETTES[theme], plan(entries, title)
    picture = Image.new("RGB", (layout.width, layout.height), palette.ground)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN - 2), title, palette.ink, font(TITLE, bold=True))
    pen.text((MARGIN, MARGIN + 18), _explanation(entries), palette.faint, font(CAPTION))
    for at, entry in enumerate(entries):
        _draw_entry(picture, pen, entry, at, layout, palette)
    return picture


def plan(entries: Sequence[Entry], title: str) -> Layout:
    """The geometry alone: about half again as wide as high."""
    side = entries[0].image.shape[0] if entries else 1
    tile = side * max(1, round(_TILE / side))
    one_line = max((width(entry.caption(), CAPTION) for entry in entries), default=0)
    two_lines = one_line > tile + 2 * _SPACE
    names = (width(f"{entry.true} → {entry.predicted}", CAPTION) for entry in entries)
    cell = max(tile, max(names, default=0) if two_lines else one_line)
    step = tile + _LINE * (3 if two_lines else 2) + _SPACE + 4
    columns = max(1, min(len(entries), round(math.sqrt(1.5 * len(entries) * step / (cell + _SPACE)))))
    rows = math.ceil(len(entries) / columns)
    inner = columns * (cell + _SPACE) - _SPACE
    head = max(width(title, TITLE, bold=True), width(_explanation(entries), CAPTION))
    return Layout(
        width=max(inner, head) + 2 * MARGIN,
        height=_HEAD + rows * step + 2 * MARGIN - (_SPACE if rows else 0),
        columns=columns,
        tile=tile,
        cell=cell,
        step=step,
        two_lines=two_lines,
    )


def _explanation(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    disputed = " · framed: most people disagree with the label" if any(e.disputed for e in entries) else ""
    return f"true → predicted (probability of the predicted / of the true){disputed}"


def _share(probability: float) -> str:
    """To two places; what only rounding would make certain, or impossible, is not said to be."""
    text = f"{probability:.2f}"
    if text == "1.00" and probability < 1:
        return ">0.99"
    return "<0.01" if text == "0.00" and probability > 0 else text


def _draw_entry(
    picture: Image.Image, pen: ImageDraw.ImageDraw, entry: Entry, at: int, layout: Layout, palette: Palette
) -> None:
    left, top = layout.corner(at)
    image = Image.fromarray(entry.image[..., 0] if entry.image.shape[-1] == 1 else entry.image)
    picture.paste(image.resize((layout.tile, layout.tile), Image.Resampling.NEAREST), (left, top))
    if entry.disputed:
        box = (left - _FRAME, top - _FRAME, left + layout.tile + _FRAME - 1, top + layout.tile + _FRAME - 1)
        pen.rectangle(box, outline=palette.mark, width=_FRAME)
    middle, line = left + layout.tile / 2, top + layout.tile + 4
    captions = (
        [f"{entry.true} → {entry.predicted}", entry.shares()] if layout.two_lines else [entry.caption()]
    )
    for caption in captions:
        pen.text((middle, line), caption, palette.ink, font(CAPTION), anchor="ma")
        line += _LINE
    pen.text(
        (middle, line), f"#{entry.index} · loss {entry.loss:.2f}", palette.faint, font(SMALL), anchor="ma"
    )
