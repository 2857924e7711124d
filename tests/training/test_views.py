import numpy as np
import pytest

from training.views import mean_logits, six_views


def test_views_are_shifts_by_a_pixel_and_their_mirror_images() -> None:
    images = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4, 1)
    weights, views = zip(*six_views(images), strict=True)
    assert weights == (0.25, 0.25, 0.125, 0.125, 0.125, 0.125)
    assert np.array_equal(views[0], images)
    assert np.array_equal(views[1], images[:, :, ::-1])
    assert np.array_equal(views[2][:, 1:, 1:], images[:, :-1, :-1])
    assert np.array_equal(views[4][:, :-1, :-1], images[:, 1:, 1:])


def test_logits_are_averaged_over_the_views() -> None:
    images = np.zeros((3, 4, 4, 1), np.uint8)
    images[:, 0, 0] = 8  # in a corner: mirroring and shifting take it elsewhere
    corner = mean_logits(lambda view: view[:, 0, 0].astype(np.float32), images)
    # The view as it is has it in the corner; reflection of the edges leaves it out of every other corner.
    assert corner == pytest.approx(np.full((3, 1), 8 * 0.25))
