"""What a pen did, as distances: from them a digit can be drawn again with a thinner or a thicker pen.

Everything works on a whole batch [N,H,W]; distances are in pixels of the digit's own grid.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from training.thinning import skeletons

FINE = 2  # how much finer than the image strokes are followed; a skeleton on the image's own grid has stairs


def ink(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """uint8 [N,H,W] → where there is ink, bool [N,2H,2W], interpolated linearly."""
    rows, columns = (_interpolation(size) for size in images.shape[1:])
    return np.asarray(rows @ images.astype(np.float32) @ columns.T > 127.5)


def _interpolation(size: int) -> NDArray[np.float32]:
    """[2·size,size]: samples of a line → samples at the centres of its halved pixels."""
    at = np.clip((np.arange(FINE * size) + 0.5) / FINE - 0.5, 0, size - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(size))), np.float32)


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
