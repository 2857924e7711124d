"""A layer's feature maps as one picture: title, a tile for each channel, a bar that says what a colour means."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.pictures.colours import PALETTES, Palette, Theme, colour_map, colour_range
from service.pictures.text import CAPTION, MARGIN, SMALL, TITLE, font, number, width
from service.pictures.tiles import GAP, Grid, arrange, near_square, strip

Scale = Literal["layer", "channel", "global"]

_TITLE_ROW = 28  # px
_BAR = (180, 8)  # width, height of the colour bar, px
_LEGEND_ROW = 38
_LABEL_ROW = 16


@dataclass(frozen=True)
class Maps:
    """What is to be drawn. `values` are float32 [H,W,C], or [units] of a layer without space."""

    layer: str
    values: NDArray[np.float32]
    shape: tuple[int, ...]
    """of the whole layer, of which `values` may be some channels"""
    channels: Sequence[int]
    low: float
    """the range that colours span: of the layer here, or over many images for scale=global"""
    high: float
    signed: bool = False
    """whether the layer has negative values, if perhaps not for this image"""
    scale: Scale = "layer"
    labels: Sequence[str] = field(default=())
    """names of the units, where they have any: classes"""

    @property
    def ends(self) -> tuple[float, float]:
        """The values at both ends of the colour bar."""
        return colour_range(self.low, self.high, signed=self.signed)

    @property
    def own_scales(self) -> bool:
        """Whether each channel has its own; the units of a vector always share one."""
        return self.scale == "channel" and self.values.ndim > 1


class Layout(NamedTuple):
    """Where things stand in the picture, px."""

    width: int
    height: int
    left: int
    top: int
    grid: Grid


def draw(maps: Maps, theme: Theme = "light") -> Image.Image:
    """The picture, RGB."""
    layout, palette = plan(maps), PALETTES[theme]
    pixels = np.empty((layout.height, layout.width, 3), np.uint8)
    pixels[:] = palette.ground
    columns, rows = layout.grid.size
    tiles = _coloured(maps)
    pixels[layout.top : layout.top + rows, layout.left : layout.left + columns] = arrange(
        tiles, layout.grid, palette.ground
    )
    bar_top = layout.height - MARGIN - 24
    pixels[bar_top : bar_top + _BAR[1], layout.left : layout.left + _BAR[0]] = _bar(maps)
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN - 2), title(maps), palette.ink, font(TITLE, bold=True))
    _write_channels(pen, maps, layout, palette)
    _write_legend(pen, maps, layout, bar_top + _BAR[1] + 4, palette)
    return picture


def plan(maps: Maps) -> Layout:
    """The geometry alone: what `draw` follows."""
    if maps.values.ndim == 1:
        grid, labels = strip(maps.values.size), _LABEL_ROW if maps.labels else 0
        if maps.labels:
            widest = max(width(label, SMALL) for label in maps.labels) + 6
            grid = grid._replace(width=max(grid.width, widest))
    else:
        height, across, count = maps.values.shape
        grid, labels = near_square(count, height, across), 0
    columns, rows = grid.size
    gutter = 0 if maps.labels else width(str(max(maps.channels)), SMALL) + 6
    inner = max(gutter + columns, width(title(maps), TITLE, bold=True), gutter + _BAR[0] + 150)
    return Layout(
        width=inner + 2 * MARGIN,
        height=2 * MARGIN + _TITLE_ROW + rows + labels + _LEGEND_ROW,
        left=MARGIN + gutter,
        top=MARGIN + _TITLE_ROW,
        grid=grid,
    )


def title(maps: Maps) -> str:
    """`conv2d · 32 × 13 × 13 · 0.00 … 1.14`: channels first, then the range of what is shown."""
    *space, channels = maps.shape
    shape = " × ".join(map(str, (channels, *space)))
    shown = "" if len(maps.channels) == channels else f" · {len(maps.channels)} of {channels}"
    low, high = float(maps.values.min()), float(maps.values.max())
    return f"{maps.layer} · {shape}{shown} · {number(low, high)} … {number(high, low)}"


def _coloured(maps: Maps) -> NDArray[np.uint8]:
    """[H,W,C] or [units] → uint8 [C,H,W,3] by the layer's range, or each channel's own."""
    values = maps.values.reshape(1, 1, -1) if maps.values.ndim == 1 else maps.values
    channels = np.moveaxis(values, -1, 0)
    if maps.own_scales:
        lowest, highest = channels.min(axis=(1, 2)), channels.max(axis=(1, 2))
        ranges = [
            colour_range(float(low), float(high), signed=maps.signed)
            for low, high in zip(lowest, highest, strict=True)
        ]
        ends = np.array(ranges, np.float32).T[:, :, None, None]
    else:
        ends = np.array(maps.ends, np.float32)[:, None, None, None]
    span = np.maximum(ends[1] - ends[0], np.finfo(np.float32).tiny)
    # Half a step is added for rounding: 0 of a signed layer then is the table's middle on either side.
    entries = np.clip((channels - ends[0]) / span, 0, 1) * 255 + 0.5
    coloured: NDArray[np.uint8] = colour_map(signed=maps.signed)[entries.astype(np.uint8)]
    return coloured


def _bar(maps: Maps) -> NDArray[np.uint8]:
    return colour_map(signed=maps.signed)[np.linspace(0, 255, _BAR[0]).astype(np.uint8)][None].repeat(
        _BAR[1], axis=0
    )


def _write_channels(pen: ImageDraw.ImageDraw, maps: Maps, layout: Layout, palette: Palette) -> None:
    """Names below the units that have them; else each row's first channel beside it."""
    grid, small = layout.grid, font(SMALL)
    if maps.labels:
        for tile, label in enumerate(maps.labels):
            left, top = grid.corner(tile)
            place = (layout.left + left + grid.width / 2, layout.top + top + grid.height + 3)
            pen.text(place, label, palette.ink, small, anchor="ma")
        return
    every = max(1, -(-14 // (grid.height + GAP)))  # rows lower than the type are not all numbered
    for row in range(0, grid.rows, every):
        middle = layout.top + row * (grid.height + GAP) + grid.height / 2
        first = maps.channels[row * grid.columns]
        pen.text((layout.left - 5, middle), str(first), palette.faint, small, anchor="rm")


def _write_legend(pen: ImageDraw.ImageDraw, maps: Maps, layout: Layout, top: int, palette: Palette) -> None:
    right = layout.left + _BAR[0]
    small, middle = font(CAPTION), layout.left + _BAR[0] / 2
    low, high = maps.ends
    ends = ("−max" if maps.signed else "0", "max") if maps.own_scales else (number(low), number(high))
    pen.text((layout.left, top), ends[0], palette.ink, small, anchor="la")
    if maps.signed:
        pen.text((middle, top), "0", palette.ink, small, anchor="ma")
    pen.text((right, top), ends[1], palette.ink, small, anchor="ra")
    pen.text((right + 12, top - 12), _note(maps), palette.faint, small, anchor="la")


def _note(maps: Maps) -> str:
    if maps.own_scales:
        return "a scale for each channel"
    return "scale of many test images" if maps.scale == "global" else "one scale for the layer"
