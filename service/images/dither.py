"""Pictures of two colours in which greys are made of dots, as fax machines and old formats do: turned into greys again.

The dots stand alone, all over the picture; those of a drawing are in lines, and those of dirt or of dotted paper
are few.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from service.images.ground import SMALL, WORKING_SIDE

BLURRED = "dithered: its dots were blurred to greys"
_RADIUS = 1.5  # px; more costs small digits their shape, less leaves dots of middle greys
# Dots as few as that are far apart; thin strokes would go with them if as much was blurred.
_SPARSE = 0.07
_SPARSE_RADIUS = 0.8
_LARGEST = 2 * WORKING_SIDE  # px; dots of larger pictures go as these are reduced
_TILES = 8  # along each side
_LEAST = 0.015  # of the pixels of half the tiles: greys with fewer dots are as good as white or black


def undone(image: Image.Image) -> Image.Image | None:
    """Mode "L" or "RGB" → the same in greys; None where nothing has to be done."""
    if not SMALL <= min(image.size) <= max(image.size) <= _LARGEST or not image.getcolors(2):
        return None
    dots = _alone(np.asarray(image.convert("L")))
    share = np.median(_tiled(dots))
    if share < _LEAST:
        return None
    return image.filter(ImageFilter.GaussianBlur(_SPARSE_RADIUS if share <= _SPARSE else _RADIUS))


def _alone(shades: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels, but for those of the border, are unlike all four neighbours: [h,w] → bool [h − 2,w − 2]."""
    inner = shades[1:-1, 1:-1]
    beside = (shades[:-2, 1:-1], shades[2:, 1:-1], shades[1:-1, :-2], shades[1:-1, 2:])
    return np.asarray(np.logical_and.reduce([inner != other for other in beside]))


def _tiled(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share that is set of each tile."""
    height, width = (side // _TILES for side in mask.shape)
    whole = mask[: height * _TILES, : width * _TILES]
    return np.asarray(whole.reshape(_TILES, height, _TILES, width).mean((1, 3)))
