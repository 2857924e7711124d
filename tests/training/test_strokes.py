import numpy as np
from numpy.typing import NDArray

from training import strokes


def bar(thickness: int) -> NDArray[np.uint8]:
    """Two images [2,28,28]: a horizontal bar, 20 pixels long, and an empty one."""
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 14 - thickness // 2 : 14 - thickness // 2 + thickness, 4:24] = 255
    return images


def test_edge_distance_is_signed_and_in_pixels() -> None:
    distance = strokes.edge_distance(strokes.ink(bar(6)))[0]
    assert np.isclose(distance[14, 14], -2.5, atol=0.3)
    assert np.isclose(distance[20, 14], 3.5, atol=0.3)


def test_line_distance_grows_from_the_middle_of_the_stroke() -> None:
    distance = strokes.line_distance(strokes.ink(bar(6)))[0]
    assert distance[13:15, 14].max() < 1
    assert np.isclose(distance[20, 14] - distance[17, 14], 3, atol=0.1)
