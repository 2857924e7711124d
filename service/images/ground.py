"""What stands out from the ground: a picture of any light and colours → signed excess over its ground."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FloatImage = NDArray[np.float32]

WORKING_SIDE = 640  # px; the longer side is reduced to no more than this
_GRID = 64  # cells along the longer side that the ground is fitted to
_RING = 0.05  # of the shorter side: the border that is taken for ground
_ONE_COLOUR = 0.4  # of the border, at least: the ground is then of that colour throughout
_CORNERS_AGREE = 8 / 255
_REFITS = 4
_TRIM = 2.5  # deviations beyond which a cell is no ground
_LEAST_DEVIATION = 1 / 255
_DARKEST = 0.1  # light below it is not made up for: the picture holds too little there
_NOISE_KEPT = 0.012  # standard deviation; noise above it is smoothed
_MAD = 1.4826  # from the median absolute deviation to the standard deviation of a normal one
SMALL = 64  # px; pictures with a shorter side have strokes too thin to smooth


@dataclass(frozen=True, slots=True)
class Excess:
    """`value`: float32 [h,w], how far each pixel is from the ground, brighter above 0; black on white is −1.

    `scale`: pixels of the picture along one of these. `noise`: standard deviation of `value` on plain ground.
    `flat`: whether the ground was one colour throughout. `direction`: the colour along which `value` is measured,
    float32 [3]; None of a grey picture.
    """

    value: FloatImage
    scale: int
    noise: float
    flat: bool
    direction: FloatImage | None


def excess(image: Image.Image, *, hairlines_of: Excess | None = None) -> Excess:
    """A picture of mode "L" or "RGB" → its excess over a ground fitted to its border.

    With `hairlines_of`, what was found of it before, reducing takes each block's pixel furthest from the ground in
    place of the mean: lines thinner than a block stay whole, and so would noise.
    """
    scale = -(-max(image.size) // WORKING_SIDE)
    reduced = image.reduce(scale) if scale > 1 else image
    bands = [_floats(band) for band in _bands(reduced)]
    noise = max(_noise(band) for band in bands)
    if noise > _NOISE_KEPT and min(image.size) >= SMALL:
        bands = [_smoothed(band) for band in bands]
        noise /= 2  # about what the binomial filter leaves, of noise that is alike in neighbours
    grounds = [_ground(band) for band in bands]
    if hairlines_of is not None and scale > 1:
        bands = [_furthest(*pair, scale) for pair in zip(_bands(image), grounds, strict=False)]
    flat = all(isinstance(ground, float) for ground in grounds)
    over = [_over(band, ground) for band, ground in zip(bands, grounds, strict=True)]
    # Which way is brighter is a matter of rounding for some pairs of inks: the same way as before, or it means nothing.
    direction = _colour_of_the_ink(over) if hairlines_of is None else hairlines_of.direction
    return Excess(_along(over, direction), scale, noise, flat, direction)


def _floats(band: Image.Image) -> FloatImage:
    return np.asarray(band, np.float32) / np.float32(255)


def _furthest(band: Image.Image, ground: FloatImage | float, scale: int) -> FloatImage:
    """A band reduced by `scale` as Image.reduce does, by the pixel of each block furthest from the ground."""
    whole = np.asarray(band)
    padding = [(0, -side % scale) for side in whole.shape]
    whole = np.pad(whole, padding, mode="edge")
    parts = [whole[row::scale, column::scale] for row in range(scale) for column in range(scale)]
    low, high = parts[0].copy(), parts[0].copy()
    for part in parts[1:]:
        np.minimum(low, part, out=low)
        np.maximum(high, part, out=high)
    darkest, brightest = low / np.float32(255), high / np.float32(255)
    return np.where(ground - darkest > brightest - ground, darkest, brightest)


def _over(band: FloatImage, ground: FloatImage | float) -> FloatImage:
    """Excess over the ground, as it would be where the light is brightest."""
    if isinstance(ground, float):
        return band - np.float32(ground)
    light = ground + np.float32(_DARKEST)
    made_up: FloatImage = light.max() / np.maximum(light, np.float32(_DARKEST))
    return (band - ground) * made_up


def _bands(image: Image.Image) -> list[Image.Image]:
    """The colour channels; only one where they are the same."""
    bands = list(image.split())
    if len(bands) > 1 and bands[0].tobytes() == bands[1].tobytes() == bands[2].tobytes():
        return bands[:1]
    return bands


def _noise(band: FloatImage) -> float:
    """Standard deviation of the noise, from differences of neighbours: edges are too few to matter."""
    some = band[:: max(1, len(band) // 100)]
    step = np.abs(some[:, 1:] - some[:, :-1])
    return float(np.median(step)) * _MAD / math.sqrt(2) if step.size else 0.0


def _smoothed(band: FloatImage) -> FloatImage:
    """3 × 3 binomial filter, twice."""
    for _ in range(2):
        padded = np.pad(band, 1, mode="edge")
        rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
        band = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16
    return band


def _ground(band: FloatImage) -> FloatImage | float:
    """The ground of a band: a number where its border is of one value, else a fitted curved surface [h,w]."""
    colour = _of_corners(band) if min(band.shape) < SMALL else None
    colour = _one_colour(_border(band)) if colour is None else colour
    if colour is not None:
        return colour
    cells = _cells(band, -(-max(band.shape) // _GRID))
    y, x = _places(*cells.shape)
    ring = (1 - np.abs(y) < _reach(len(y))) | (1 - np.abs(x) < _reach(x.size))
    terms = np.stack([np.broadcast_to(term, cells.shape)[ring] for term in _terms(y, x)])
    return _surface(_trimmed_fit(cells[ring], terms), *_places(*band.shape))


def _one_colour(values: FloatImage) -> float | None:
    """The commonest of the values, a level more or less, if it is common enough."""
    levels = np.bincount(np.rint(values * 255).astype(np.intp), minlength=256)
    commonest = int(np.convolve(levels, (1, 1, 1), "same").argmax())
    close = np.abs(values * 255 - commonest) <= 1.5
    return float(np.median(values[close])) if close.mean() > _ONE_COLOUR else None


def _of_corners(band: FloatImage) -> float | None:
    """What three corners agree on: a digit may fill the rest of the border of a small picture."""
    corners = sorted(float(band[row, column]) for row in (0, -1) for column in (0, -1))
    if min(corners[2] - corners[0], corners[3] - corners[1]) > _CORNERS_AGREE:
        return None
    return corners[1] if corners[2] - corners[0] < corners[3] - corners[1] else corners[2]


def _border(band: FloatImage) -> FloatImage:
    """Pixels along the edges, at several depths: a frame around the picture is only one of them."""
    depths = sorted({round(share * min(band.shape)) for share in (0.0, 0.01, 0.02, 0.04)})
    lines = [line for d in depths for line in (band[d], band[-1 - d], band[:, d], band[:, -1 - d])]
    return np.concatenate(lines)


def _reach(cells: int) -> float:
    """How far the ring goes in from an edge, of −1…1: one cell at least."""
    return max(2 * _RING, 1.5 / cells)


def _cells(band: FloatImage, block: int) -> FloatImage:
    """Means of square blocks, float32 [gh,gw]."""
    height, width = (max(1, side // block) for side in band.shape)
    cells = band[: height * block, : width * block].reshape(height, -1, width, min(block, band.shape[1]))
    return np.asarray(cells.mean((1, 3), dtype=np.float32))


def _places(height: int, width: int) -> tuple[FloatImage, FloatImage]:
    """Of each row [h,1] and column [1,w], −1…1."""
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) * (2 / height) - 1
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) * (2 / width) - 1
    return y, x


def _terms(y: FloatImage, x: FloatImage) -> list[FloatImage]:
    """The surface's six terms: a slope for the fall of light, a curvature for the lens."""
    return [np.ones_like(y), y, x, y * y, x * x, x * y]


def _surface(coefficients: FloatImage, y: FloatImage, x: FloatImage) -> FloatImage:
    """The sum of the terms, [h,w], with few passes over the whole."""
    one, down, right, down2, right2, both = coefficients
    return np.asarray((one + y * (down + y * down2)) + x * (right + x * right2) + (both * y) * x)


def _trimmed_fit(values: FloatImage, terms: FloatImage) -> FloatImage:
    """Least squares, refitted without what lies far off: values [n], terms [6,n] → coefficients [6]."""
    from_middle = np.abs(values - np.median(values))
    kept = from_middle <= 2 * _deviation(from_middle) + 0.1
    coefficients = np.zeros(len(terms), np.float32)
    for _ in range(_REFITS):
        coefficients = np.linalg.lstsq(terms[:, kept].T, values[kept], rcond=None)[0].astype(np.float32)
        residual = np.abs(values - coefficients @ terms)
        near = residual <= _TRIM * max(_deviation(residual[kept]), _LEAST_DEVIATION)
        if not near.any():
            break
        kept = near
    return coefficients


def _deviation(residual: FloatImage) -> float:
    """Standard deviation, from absolute residuals."""
    return _MAD * float(np.median(residual))


def _colour_of_the_ink(bands: list[FloatImage]) -> FloatImage | None:
    """Excess of each channel [h,w] → the colour that differs most, so that coloured ink is not lost; None of one."""
    if len(bands) == 1:
        return None
    colours = np.stack([band.reshape(-1) for band in bands])
    power = np.einsum("ij,ij->j", colours, colours)
    strong = colours[:, power >= power.max() / 4]
    direction: FloatImage = np.linalg.eigh(strong @ strong.T)[1][:, -1]
    direction *= math.copysign(1 / math.sqrt(len(bands)), direction.sum())
    return direction


def _along(bands: list[FloatImage], direction: FloatImage | None) -> FloatImage:
    """Excess of each channel [h,w] → excess along a colour."""
    if direction is None:
        return bands[0]
    colours = np.stack([band.reshape(-1) for band in bands])
    return np.asarray((direction @ colours).reshape(bands[0].shape))
