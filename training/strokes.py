"""What a pen did, as distances: from them a digit can be drawn again with a thinner or a thicker pen.

Everything works on a whole batch [N,H,W]; distances are in pixels of the digit's own grid.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

FINE = 2  # how much finer than the image strokes are followed; a skeleton on the image's own grid has stairs
_AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))  # clockwise from the north


def ink(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """uint8 [N,H,W] → where there is ink, bool [N,2H,2W], interpolated linearly."""
    rows, columns = (_interpolation(size) for size in images.shape[1:])
    return np.asarray(rows @ images.astype(np.float32) @ columns.T > 127.5)


def _interpolation(size: int) -> NDArray[np.float32]:
    """[2·size,size]: samples of a line → samples at the centres of its halved pixels."""
    at = np.clip((np.arange(FINE * size) + 0.5) / FINE - 0.5, 0, size - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(size))), np.float32)


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


def edge_distance(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Signed distance [N,H/2,W/2] of the image's pixels to the edge of the ink: below 0 inside."""
    outside, inside = _distance(~masks), _distance(masks)
    return _to_pixels(np.where(masks, 0.5 - inside, outside - 0.5))


def line_distance(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance [N,H/2,W/2] of the image's pixels to the skeleton of the ink."""
    return _to_pixels(_distance(~skeletons(masks)))


def _distance(where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Of every true pixel to the nearest false one of the same image."""
    return np.stack([distance_transform_edt(image) for image in where]).astype(np.float32)


def _to_pixels(fine: NDArray[np.float32]) -> NDArray[np.float32]:
    count, height, width = fine.shape
    return np.asarray(fine.reshape(count, height // FINE, FINE, width // FINE, FINE).mean((2, 4)) / FINE)
