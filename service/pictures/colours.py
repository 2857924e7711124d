"""Colour maps as tables, and the two themes that pictures come in."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Theme = Literal["light", "dark"]
Colour = tuple[int, int, int]

# Every 8th entry of viridis (Smith and van der Walt, 2015; public domain); between them straight lines
# are within 2 of 255 of the original.
_VIRIDIS = (
    "440154470d6048186a482374472d7b4536814240863f49893b528b375a8d33638d2f6a8e2c728e297a8e26818e23898e21908c"
    "1f988b1f9f8821a68528ae8031b57b3ebc744cc26c5dc9636ece5882d34c96d83fabdc32c0df24d5e21aeae51afde725"
)
# RdBu reversed (Brewer, ColorBrewer 2; Apache-2.0): blue below 0, red above, as light at ±x.
_BLUE_RED = "0530612065ab4393c390c4ddd1e5f0f7f6f6fddbc7f3a481d6604db1182b67001f"


@dataclass(frozen=True)
class Palette:
    """A theme's colours."""

    ground: Colour
    ink: Colour
    faint: Colour
    mark: Colour
    """what wants attention: the frame of an image whose label people dispute"""


PALETTES: dict[Theme, Palette] = {
    "light": Palette(ground=(255, 255, 255), ink=(28, 30, 33), faint=(110, 115, 122), mark=(217, 119, 6)),
    "dark": Palette(ground=(20, 22, 26), ink=(232, 234, 237), faint=(154, 160, 168), mark=(251, 176, 64)),
}


def _table(anchors: str) -> NDArray[np.uint8]:
    """Evenly spaced colours in hexadecimal → uint8 [256,3]."""
    points = np.frombuffer(bytes.fromhex(anchors), np.uint8).reshape(-1, 3)
    at = np.linspace(0, 255, len(points))
    columns = [np.interp(np.arange(256), at, points[:, channel]) for channel in range(3)]
    return np.round(np.stack(columns, axis=1)).astype(np.uint8)


SEQUENTIAL = _table(_VIRIDIS)
DIVERGING = _table(_BLUE_RED)


def colour_map(*, signed: bool) -> NDArray[np.uint8]:
    """uint8 [256,3]: diverging for layers that have negative values, sequential for the others."""
    return DIVERGING if signed else SEQUENTIAL


def colour_range(low: float, high: float, *, signed: bool) -> tuple[float, float]:
    """The values at both ends of the map: symmetric about 0 for signed layers, else from 0."""
    if signed:
        reach = max(abs(low), abs(high))
        return -reach, reach
    return 0.0, high
