import numpy as np

from training.thinning import skeletons


def test_skeleton_of_a_bar_is_a_line_in_its_middle() -> None:
    masks = np.zeros((2, 56, 56), bool)
    masks[0, 22:34, 8:48] = True
    bones = skeletons(masks)
    rows, columns = np.nonzero(bones[0])
    assert set(rows) <= {27, 28}
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
    found = skeletons(np.array([[pixel == "#" for pixel in row] for row in blot])[None])[0]
    assert ["".join(".#"[int(pixel)] for pixel in row) for row in found] == list(bones)


def test_skeleton_keeps_a_ring_closed() -> None:
    radius = np.hypot(*np.indices((56, 56)) - 27.5)
    ring = (radius > 10) & (radius < 18)
    bones = skeletons(ring[None])[0]
    down, right = np.nonzero(bones)
    angles = np.sort(np.arctan2(down - 27.5, right - 27.5))
    assert np.diff(angles).max() < 0.2
    assert bones.sum() < 0.3 * ring.sum()
