import numpy as np
import pytest

from service.images import form, strokes
from tests.service.images.files import seven


@pytest.mark.parametrize("pen", [6, 12, 24])
def test_stroke_width_is_measured_to_a_tenth(pen: int) -> None:
    mask = np.asarray(seven((800, 600), pen=pen)) < 128
    assert strokes.width(mask) == pytest.approx(pen, rel=0.12)


def test_widening_and_narrowing_change_the_width_by_twice_the_steps() -> None:
    ink = 255 - np.asarray(seven((400, 300), pen=20))
    before = strokes.width(ink > 127)
    assert strokes.width(strokes.widened(ink, 5) > 127) - before == pytest.approx(10, abs=2)
    assert before - strokes.width(strokes.narrowed(ink, 5) > 127) == pytest.approx(10, abs=2)


def test_narrowing_ends_before_nothing_is_left() -> None:
    ink = 255 - np.asarray(seven((400, 300), pen=20))
    assert (strokes.narrowed(ink, 100) > form.INK).any()


def test_ink_grows_and_shrinks_alike_on_every_side() -> None:
    dot = np.zeros((5, 5), np.uint8)
    dot[2, 2] = 255
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8) * 255
    assert (strokes.widened(dot[2:3, 2:3], 1) == cross).all()
    assert (strokes.narrowed(np.pad(cross, 1), 1) == dot).all()
    for turned in (np.flipud, np.fliplr, np.transpose):
        for steps in (1, 2, 3):
            octagon = strokes.widened(dot, steps)
            assert (turned(octagon) == octagon).all()
