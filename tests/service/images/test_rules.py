import numpy as np

from service.images.rules import without_rules


def page(reach: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A thick upright stroke, and three thin ones from the left edge across so many of 240 pixels."""
    ink = np.zeros((160, 240), np.float32)
    ink[20:140, 100:112] = 1
    ink[40:130:40, :reach] = 1
    return ink


def test_lines_from_edge_to_edge_go_but_where_a_stroke_crosses_them() -> None:
    cleared, count = without_rules(page(240))
    assert count == 3
    assert (cleared == page(0)).all()


def test_strokes_that_end_short_of_the_other_edge_are_no_lines() -> None:
    for reach in (30, 60, 200):  # 30 is the first eighth
        cleared, count = without_rules(page(reach))
        assert count == 0
        assert (cleared == page(reach)).all()
