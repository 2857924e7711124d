"""service.pictures.contact_sheet"""

import numpy as np
import pytest

from service.pictures.colours import PALETTES
from service.pictures.contact_sheet import Entry, draw, plan


def entry(
    at: int, *, disputed: bool = False, names: tuple[str, str] = ("9", "4"), channels: int = 1
) -> Entry:
    side = 28 if channels == 1 else 32
    image = np.full((side, side, channels), 10 * at + 5, np.uint8)
    return Entry(image, at, *names, 0.52, 0.47, 0.7, disputed)


def test_a_caption_says_true_predicted_and_how_sure() -> None:
    assert entry(0).caption() == "9 → 4 (0.52 / 0.47)"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 5, 24])
def test_images_stand_in_order_enlarged_by_whole_numbers(count: int, channels: int) -> None:
    entries = [entry(at, channels=channels) for at in range(count)]
    picture, layout = np.asarray(draw(entries, "a title")), plan(entries, "a title")
    assert picture.shape == (layout.height, layout.width, 3)
    assert layout.tile % entries[0].image.shape[0] == 0
    for at, one in enumerate(entries):
        left, top = layout.corner(at)
        assert (picture[top : top + layout.tile, left : left + layout.tile] == one.image[0, 0, 0]).all()


def test_a_disputed_label_is_framed() -> None:
    entries = [entry(0), entry(1, disputed=True)]
    picture, layout = np.asarray(draw(entries, "t")), plan(entries, "t")
    for at, framed in enumerate([False, True]):
        left, top = layout.corner(at)
        assert (picture[top - 1, left : left + layout.tile] == PALETTES["light"].mark).all() == framed


def test_long_names_take_two_lines_and_none_is_cut() -> None:
    short, long = [entry(0)], [entry(0, names=("automobile", "airplane"), channels=3)]
    assert (plan(short, "t").two_lines, plan(long, "t").two_lines) == (False, True)
    assert plan(long, "t").cell > plan(short, "t").tile


def test_an_empty_sheet_is_a_picture_too() -> None:
    assert draw([], "nothing fits").size[1] < 120
