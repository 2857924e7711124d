"""service.pictures.contact_sheet"""

from dataclasses import replace

import numpy as np
import pytest

from service.pictures.colours import PALETTES
from service.pictures.contact_sheet import Entry, draw, plan
from tests.service.pictures.conftest import Line, apart


def entry(
    at: int, *, disputed: bool = False, names: tuple[str, str] = ("9", "4"), channels: int = 1
) -> Entry:
    side = 28 if channels == 1 else 32
    image = np.random.default_rng(at).integers(0, 256, (side, side, channels), np.uint8)
    return Entry(image, at, *names, 0.52, 0.47, 0.7, disputed)


def test_a_caption_says_true_predicted_and_how_sure() -> None:
    assert entry(0).caption() == "9 → 4 (0.52 / 0.47)"


@pytest.mark.parametrize(
    ("predicted", "true", "shares"),
    [
        (0.994, 0.006, "(0.99 / 0.01)"),
        (0.996, 0.004, "(>0.99 / <0.01)"),
        (1.0, 0.0, "(1.00 / 0.00)"),
    ],
)
def test_what_is_not_certain_is_not_rounded_to_it(predicted: float, true: float, shares: str) -> None:
    one = replace(entry(0), probability_predicted=predicted, probability_true=true)
    assert one.shares() == shares


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 5, 24])
def test_images_stand_in_order_enlarged_by_whole_numbers(count: int, channels: int) -> None:
    entries = [entry(at, channels=channels) for at in range(count)]
    picture, layout = np.asarray(draw(entries, "a title")), plan(entries, "a title")
    assert picture.shape == (layout.height, layout.width, 3)
    scale, rest = divmod(layout.tile, entries[0].image.shape[0])
    assert rest == 0
    for at, one in enumerate(entries):
        left, top = layout.corner(at)
        enlarged = one.image.repeat(scale, axis=0).repeat(scale, axis=1)
        assert (picture[top : top + layout.tile, left : left + layout.tile] == enlarged).all()


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


@pytest.mark.parametrize(
    ("names", "caption"),
    [
        (("9", "4"), ["9 → 4 (0.52 / 0.47)"]),
        (("ox", "ox"), ["ox → ox (0.52 / 0.47)"]),  # a little wider than its image
        (("automobile", "airplane"), ["automobile → airplane", "(0.52 / 0.47)"]),
    ],
)
def test_every_image_says_what_it_is_below_itself(
    lines: list[Line], names: tuple[str, str], caption: list[str]
) -> None:
    entries = [entry(at, disputed=True, names=names, channels=3) for at in range(7)]
    picture, layout = draw(entries, "a title"), plan(entries, "a title")
    assert 1 < layout.columns < len(entries)
    framed = "framed: most people disagree with the label"
    head = ["a title", f"true → predicted (probability of the predicted / of the true) · {framed}"]
    each = [[*caption, f"#{at} · loss 0.70"] for at in range(len(entries))]
    assert [line.text for line in lines] == [*head, *(text for texts in each for text in texts)]

    frames, below = list[tuple[float, ...]](), lines[len(head) :]
    for at in range(len(entries)):
        left, top = layout.corner(at)
        frames.append((left - 3, top - 3, left + layout.tile + 3, top + layout.tile + 3))
        own, below = below[: len(each[at])], below[len(each[at]) :]
        assert {line.place[0] for line in own} == {left + layout.tile / 2}
        assert all(0 < line.box[1] - top - layout.tile < 60 for line in own)
        assert own == sorted(own, key=lambda line: line.box[1])
    boxes = [*frames, *(line.box for line in lines)]
    assert apart(boxes, picture.size)


def test_a_frame_is_explained_where_there_is_one(lines: list[Line]) -> None:
    draw([entry(0), entry(1)], "t")
    assert lines[1].text == "true → predicted (probability of the predicted / of the true)"


def test_an_empty_sheet_is_a_picture_too_and_its_title_says_why(lines: list[Line]) -> None:
    assert draw([], "nothing fits").size[1] < 120
    assert [line.text for line in lines if line.text] == ["nothing fits"]
