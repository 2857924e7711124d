"""Strokes → lines one pixel wide, for a whole batch at once. Pure NumPy: who measures the service uses it too."""

import numpy as np
from numpy.typing import NDArray

_AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))  # clockwise from the north


def skeletons(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Lines one pixel wide in the middle of the strokes of bool [N,H,W].

    Zhang and Suen, A fast parallel algorithm for thinning digital patterns, 1984.
    """
    thin = np.pad(masks, ((0, 0), (1, 1), (1, 1))).view(np.uint8)
    unfinished = np.arange(len(masks))
    while len(unfinished):
        part = thin[unfinished]
        left = np.maximum(*(_thinned(part, removable) for removable in _REMOVABLE))
        thin[unfinished] = part
        unfinished = unfinished[left]
    return thin[:, 1:-1, 1:-1].astype(bool)


def _thinned(thin: NDArray[np.uint8], removable: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Takes pixels away from padded images [N,H,W] in place; says which images [N] lost any."""
    inside = thin[:, 1:-1, 1:-1]
    height, width = inside.shape[1:]
    code = np.zeros(inside.shape, np.uint8)
    for bit, (down, right) in enumerate(_AROUND):
        code |= thin[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width] << bit
    gone = removable.take(code) & inside
    inside ^= gone
    return np.asarray(gone.any((1, 2)))


def _removable(first: bool) -> NDArray[np.uint8]:
    """By the 8 neighbours as bits: 1 where this half of a round takes the pixel away."""
    table = np.zeros(256, np.uint8)
    for code in range(256):
        p = [bool(code >> bit & 1) for bit in range(8)]
        north, east, south, west = p[::2]
        onsets = sum(not p[k] and p[(k + 1) % 8] for k in range(8))
        if first:
            spared = (north and east and south) or (east and south and west)
        else:
            spared = (north and east and west) or (north and south and west)
        table[code] = 2 <= sum(p) <= 6 and onsets == 1 and not spared
    return table


_REMOVABLE = (_removable(True), _removable(False))
