"""Ruled and squared paper: lines from edge to edge, taken out where no stroke crosses them.

The method is that of staff-line removal in music reading: along a line, ink goes unless its run across
the line is longer than the line is thick. Fainter lines need none of this: they are no sure ink.
"""

import numpy as np
from numpy.typing import NDArray

from service.images.ground import FloatImage

_STRIPS = 8  # a line runs through all of them, and may shift from one to the next as the page is turned
_COVERED = 0.85  # of a strip's width, by a line in it
_SLANT = 2  # px; a line wanders so far up or down within a strip
_THICKEST = 60  # a line is thinner than one in so many of the picture's length across it
_LEAST_LINES = 2  # one line alone may be a stroke that touches both edges
_HALF = np.float32(0.5)


def without_rules(ink: FloatImage) -> tuple[FloatImage, int]:
    """Ink [h,w], strong from 0.5 → the same without ruled lines, and how many there were."""
    down, across = (_lines(mask) for mask in (ink >= _HALF, (ink >= _HALF).T))
    count = _count(down) + _count(across)
    if max(_count(down), _count(across)) < _LEAST_LINES:
        return ink, 0
    gone = _thin(ink >= _HALF, down) | _thin((ink >= _HALF).T, across).T
    cleared = np.where(gone, np.float32(0), ink)
    return (cleared, count) if (cleared >= _HALF).any() else (ink, 0)


def _lines(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows, bool [h], that a line from edge to edge passes through."""
    width = mask.shape[1] // _STRIPS
    if not width:
        return np.zeros(mask.shape[0], bool)
    strips = [_covered(mask[:, :width])]
    if strips[0].any():  # most pictures hold no line, and this is known by their first strip
        strips += [_covered(mask[:, strip * width :][:, :width]) for strip in range(1, _STRIPS)]
    covered = np.stack(strips, axis=1)
    wander = max(1, round(0.01 * mask.shape[1]))  # a page turned by about a degree
    return np.asarray(_spread(covered, wander).all(1))


def _covered(strip: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(_spread(strip, _SLANT).mean(1) >= _COVERED)


def _spread(mask: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """What is set within so many rows."""
    spread = mask.copy()
    for shift in range(1, rows + 1):
        spread[shift:] |= mask[:-shift]
        spread[:-shift] |= mask[shift:]
    return spread


def _count(rows: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(np.diff(rows.astype(np.int8), prepend=0) == 1))


def _thin(mask: NDArray[np.bool_], rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of the ink in these rows, what is no thicker across the line than lines are."""
    runs = _runs(mask)
    in_lines = runs[rows][mask[rows]]
    if not in_lines.size:
        return np.zeros_like(mask)
    thickness = int(np.bincount(in_lines).argmax())
    if thickness > max(2, len(mask) // _THICKEST):
        return np.zeros_like(mask)
    return mask & rows[:, None] & (runs <= thickness + 1)


def _runs(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """For each set pixel the length of the vertical run that it is in: bool [h,w] → int32 [h,w]."""
    turned = mask.T
    edges = np.diff(np.pad(turned, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lengths = np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]
    runs = np.zeros(turned.shape, np.int32)
    runs[turned] = np.repeat(lengths, lengths)
    return runs.T
