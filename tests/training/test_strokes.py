import numpy as np
from numpy.typing import NDArray

from training import strokes


def bar(thickness: int) -> NDArray[np.uint8]:
    """Two images [2,28,28]: a horizontal bar, 20 pixels long, and an empty one."""
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 14 - thickness // 2 : 14 - thickness // 2 + thickness, 4:24] = 255
    return images


def test_skeleton_of_a_bar_is_a_line_in_its_middle() -> None:
    bones = strokes.skeletons(strokes.ink(bar(6)))
    rows, columns = np.nonzero(bones[0])
    assert set(rows) <= {27, 28}  # of 56: the middle of the bar
    assert np.ptp(columns) > 20
    assert bones[0].sum(0).max() <= 2
    assert not bones[1].any()


def test_skeleton_of_a_blot_is_zhang_and_suens() -> None:
    blot, bones = zip(
        ("...........", "..........."),
        ("#####......", "..........."),
        ("#####......", "..##......."),
        ("##########.", "..#.##....."),
        ("###..#####.", "..#..###..."),
        (".#########.", "..#..#....."),
        (".#########.", "..####....."),
        (".######....", "..........."),
        (".####......", "..........."),
        strict=True,
    )
    found = strokes.skeletons(np.array([[pixel == "#" for pixel in row] for row in blot])[None])[0]
    assert ["".join(".#"[int(pixel)] for pixel in row) for row in found] == list(bones)


def test_skeleton_keeps_a_ring_closed() -> None:
    down, right = np.indices((28, 28)) - 13.5
    radius = np.hypot(down, right)
    ring = np.where((radius > 5) & (radius < 9), 255, 0).astype(np.uint8)[None]
    bones = strokes.skeletons(strokes.ink(ring))[0]
    down, right = np.nonzero(bones)
    angles = np.sort(np.arctan2(down - 27.5, right - 27.5))
    assert np.diff(angles).max() < 0.2
    assert bones.sum() < 0.3 * strokes.ink(ring).sum()


def test_edge_distance_is_signed_and_in_pixels() -> None:
    distance = strokes.edge_distance(strokes.ink(bar(6)))[0]
    assert np.isclose(distance[14, 14], -2.5, atol=0.3)
    assert np.isclose(distance[20, 14], 3.5, atol=0.3)


def test_line_distance_grows_from_the_middle_of_the_stroke() -> None:
    distance = strokes.line_distance(strokes.ink(bar(6)))[0]
    assert distance[13:15, 14].max() < 1
    assert np.isclose(distance[20, 14] - distance[17, 14], 3, atol=0.1)
