import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.images import form
from service.images.digits import to_digit
from tests.service.images.files import seven

Images = NDArray[np.uint8]


def test_form_is_not_seen_where_it_is_not() -> None:
    placed = to_digit(seven()).image
    assert form.has_form(placed)
    assert not form.has_form(np.roll(placed, 2, 0))
    assert not form.has_form(np.roll(placed, -2, 1))
    assert not form.has_form(255 - placed)
    assert not form.has_form(np.zeros((28, 28), np.uint8))
    assert not form.has_form(
        np.asarray(Image.fromarray(placed).resize((14, 14)).resize((28, 28))).repeat(1, 0)[::-1] // 9
    )


def test_placing_what_is_placed_changes_nothing() -> None:
    placed = to_digit(seven()).image
    rows, columns = np.flatnonzero(placed.any(1)), np.flatnonzero(placed.any(0))
    again = form.place(placed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    assert np.abs(again.astype(int) - placed).max() <= 1


def test_many_are_seen_to_have_the_form_that_each_has(mnist: Images) -> None:
    random = np.random.default_rng(0)
    some = mnist[:500]
    others = [255 - some, np.roll(some, 2, 1), np.zeros_like(some[:1]), some // 12]
    others.append(np.where(random.random(some.shape) < 0.5, some, 255).astype(np.uint8))
    images = np.concatenate([mnist, *others])
    expected = [form.has_form(image) for image in images]
    assert form.have_form(images).tolist() == expected
    assert all(expected[:10_000])
    assert not all(expected[10_000:])
    assert form.ink_shares(images).tolist() == [form.ink_share(image) for image in images]


def with_its_centre_on_the_limit(more: int) -> Images:
    """Ink in rows 4 to 23, of mass 80,000 and some more, whose centre is as near as can be to 13.45 px from the top."""
    image = np.zeros((28, 28), np.int64)
    image[4:24, 4:24] = 200
    image[14, 4] += more % 56
    image[14, 5] += more // 56  # in the middle, where it moves nothing
    rows_up = 4000 + -(-11 * more // 20)
    pixels_up, rest = divmod(rows_up, 23 - 4)
    shares = (pixels_up + 19 - np.arange(20)) // 20
    image[23, 4:24] -= shares
    image[4, 4:24] += shares
    image[23, 4] -= 1
    image[23 - rest, 4] += 1
    return image.astype(np.uint8)


def test_one_and_many_agree_where_a_centre_is_on_the_limit() -> None:
    upper = np.stack([with_its_centre_on_the_limit(more) for more in range(120)])
    images = np.concatenate([upper, upper.transpose(0, 2, 1)])
    mass, rows = upper.sum((1, 2), dtype=np.int64), upper.sum(2, dtype=np.int64) @ np.arange(28)
    within = (20 * rows >= 269 * mass).tolist()
    assert {*within} == {True, False}
    assert form.have_form(images).tolist() == within * 2
    assert [form.has_form(image) for image in images] == within * 2


@pytest.mark.parametrize("count", [0, 1, 54, 55, 108])
def test_one_and_many_agree_on_a_border_that_is_partly_ink(mnist: Images, count: int) -> None:
    random = np.random.default_rng(count)
    ring = np.flatnonzero(np.pad(np.zeros((26, 26), bool), 1, constant_values=True))
    images = mnist[:200].copy()
    for image in images.reshape(200, -1):
        image[ring] = 0
        image[random.choice(ring, count, replace=False)] = (
            1  # too faint to count as ink, or to move the centre
        )
    expected = [form.has_form(image) for image in images]
    assert form.have_form(images).tolist() == expected
    assert any(expected) is (count <= len(ring) // 2)
