import contextlib

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from service.errors import BlankImage
from service.images import form
from service.images.digits import Digit, Invert, to_digit
from tests.service.images.files import Colour, seven

RANDOM = np.random.default_rng(3)


def assert_a_seven(digit: Digit) -> None:
    """The form of MNIST, and the shape of the 7 that a plain picture gives."""
    assert form.has_form(digit.image)
    plain = to_digit(seven()).image
    assert np.corrcoef(digit.image.ravel(), plain.ravel())[0, 1] > 0.7


def shaded(picture: Image.Image, fall: float = 0.6) -> Image.Image:
    light = 1 - fall * np.linspace(0, 1, picture.width)[None] ** 1.5
    return Image.fromarray((np.asarray(picture) * light).astype(np.uint8))


def noisy(picture: Image.Image, deviation: float = 20) -> Image.Image:
    grain = np.random.default_rng(5).normal(0, deviation, (picture.height, picture.width))
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def ruled(picture: Image.Image, colour: Colour = (150, 180, 220), *, squared: bool = False) -> Image.Image:
    page = Image.new("RGB", picture.size, "white")
    for row in range(10, page.height, 25):
        ImageDraw.Draw(page).line((0, row, page.width, row), fill=colour)
    for column in range(10, page.width if squared else 0, 25):
        ImageDraw.Draw(page).line((column, 0, column, page.height), fill=colour)
    page.paste((10, 10, 20), (0, 0), picture.point(lambda v: 255 - v))
    return page


PICTURES = {
    "small": seven((32, 32), pen=3),
    "large": seven((2400, 1800), pen=150),
    "white on black": seven((1152, 648), pen=40, ground="black", ink="white"),
    "hairline": seven((1050, 800), pen=1),
    "small hairline": seven((1050, 800), pen=1).resize((525, 400), Image.Resampling.BOX),
    "marker": seven(pen=40),
    "off centre": seven((800, 600), pen=14, centre=(0.22, 0.7)),
    "at the border": seven((400, 140), pen=12, centre=(0.0614, 0.5)),
    "shaded": shaded(seven()),
    "shaded and noisy": noisy(shaded(seven((600, 400), pen=28))),
    "noisy": noisy(seven((600, 400), pen=28)),
    "blurred": seven().filter(ImageFilter.GaussianBlur(4)),
    "ruled": ruled(seven()),
    "ruled in black": ruled(seven(), (0, 0, 0)),
    "squared in black": ruled(seven(), (0, 0, 0), squared=True),
    "ruled in black, a turned page": ruled(seven((600, 400), pen=28), (0, 0, 0)).rotate(1, fillcolor="white"),
    "filling a small picture": seven((64, 64), pen=5).crop((9, 9, 55, 55)).resize((32, 32)),
    "faint": seven(ground=230, ink=190),
    "with specks": seven((600, 400), pen=28),
}
ImageDraw.Draw(PICTURES["with specks"]).point([(20, 30), (580, 390), (30, 370), (570, 20)], fill="black")
for corner in ((5, 5), (590, 6)):
    ImageDraw.Draw(PICTURES["with specks"]).rectangle((*corner, corner[0] + 4, corner[1] + 4), fill="black")


def framed(picture: Image.Image, width: int) -> Image.Image:
    ImageDraw.Draw(picture).rectangle((0, 0, picture.width - 1, picture.height - 1), outline=0, width=width)
    return picture


def on_a_desk(angle: float) -> Image.Image:
    sheet = seven((500, 380), pen=24, ground=235, ink=40)
    desk = Image.new("L", (700, 560), 60)
    desk.paste(sheet.rotate(angle, expand=True, fillcolor=60), (90, 80))
    return desk


PICTURES |= {
    "framed": framed(seven((1050, 800), pen=3), 1),
    "framed, small and faint": framed(Image.new("L", (1050, 800), "white"), 2),
    "on a desk": on_a_desk(0),
    "on a desk, askew": on_a_desk(3),
}
PICTURES["framed, small and faint"].paste(seven((160, 120), pen=3, ink=120), (500, 400))


@pytest.mark.parametrize("name", PICTURES)
def test_a_seven_is_one_however_it_is_sent(name: str) -> None:
    assert_a_seven(to_digit(PICTURES[name]))


@pytest.mark.parametrize(
    ("ground", "ink"),
    [
        ("white", "yellow"),
        ("red", "green"),
        ((128, 128, 128), (128, 128, 255)),
        ("navy", "gold"),
        ((250, 240, 160), (20, 40, 140)),
    ],
)
def test_coloured_ink_is_kept(ground: Colour, ink: Colour) -> None:
    assert_a_seven(to_digit(seven(mode="RGB", ground=ground, ink=ink)))


def test_thin_strokes_in_two_colours_neither_brighter_than_the_ground_are_a_digit() -> None:
    picture = seven((1000, 1000), pen=3, mode="RGB", ground=(191, 18, 154), ink=(150, 180, 66))
    picture.paste((48, 151, 173), (0, 0), seven((1000, 1000), pen=1, ground="black", ink="white"))
    assert_a_seven(to_digit(picture))


def test_a_thin_stroke_with_specks_on_the_other_side_of_the_ground_is_a_digit() -> None:
    shades = np.full((1000, 1000), 128, np.uint8)
    shades[200:800, 500:502] = 228
    shades[200:800:2, 500] = 8  # one of the four pixels that are made one, and the furthest from the ground
    digit = to_digit(Image.fromarray(shades))
    assert not digit.inverted
    assert digit.box == (500, 200, 502, 800)


@pytest.mark.parametrize(
    ("name", "inverted"), [("hairline", True), ("white on black", False), ("marker", True)]
)
def test_ink_is_the_side_that_stands_out(name: str, inverted: bool) -> None:
    assert to_digit(PICTURES[name]).inverted is inverted


def test_answer_tells_how_the_ink_was_found() -> None:
    ground = {True: "ground of one colour subtracted", False: "uneven ground fitted and subtracted"}
    assert to_digit(PICTURES["marker"]).steps[:2] == [
        ground[True],
        "ink is the dark side, which stands out more",
    ]
    assert to_digit(PICTURES["shaded"]).steps[0] == ground[False]
    told = to_digit(PICTURES["white on black"], "no").steps[:3]
    assert told == ["reduced by 2", ground[True], "ink is the bright side, as asked"]


def test_mostly_black_marker_on_white_is_still_dark_ink() -> None:
    picture = seven((60, 60), pen=24)
    assert np.asarray(picture).mean() < 190
    assert to_digit(picture).inverted


@pytest.mark.parametrize("name", ["hairline", "small hairline"])
def test_hairlines_get_a_pens_width(name: str) -> None:
    digit = to_digit(PICTURES[name])
    assert any("thickened" in step for step in digit.steps)
    assert digit.ink_share is not None
    assert digit.ink_share > 0.048
    assert digit.image.max() == 255


def test_markers_are_thinned() -> None:
    assert any("thinned" in step for step in to_digit(PICTURES["marker"]).steps)


BLANKS = {
    "white": Image.new("L", (300, 200), "white"),
    "black": Image.new("L", (28, 28)),
    "one pixel": Image.new("L", (1, 1), 90),
    "coloured": Image.new("RGB", (300, 200), (40, 90, 200)),
    "one level apart": seven(ground=200, ink=199),
    "barely there": seven(ground=255, ink=245),
    "noise": noisy(Image.new("L", (300, 200), 128)),
    "shaded paper": shaded(Image.new("L", (600, 400), 240)),
    "shaded paper with noise": noisy(shaded(Image.new("L", (600, 400), 240)), 8),
}


@pytest.mark.parametrize("name", BLANKS)
def test_blank_is_refused_with_the_contrast(name: str) -> None:
    with pytest.raises(BlankImage, match=r"the contrast is 0\.\d{3} of black on white"):
        to_digit(BLANKS[name])


@pytest.mark.parametrize(
    ("picture", "invert", "side"),
    [(PICTURES["white on black"], "yes", "darker"), (PICTURES["hairline"], "no", "brighter")],
)
def test_ink_on_the_side_that_was_not_asked_for_is_told(
    picture: Image.Image, invert: Invert, side: str
) -> None:
    told = rf"ground as {side} than it \(invert={invert}\): .*; invert=auto would find [01]\.\d{{3}} on its other side$"
    with pytest.raises(BlankImage, match=told):
        to_digit(picture, invert)


def test_nearly_blank_is_warned_of() -> None:
    assert any("nearly blank" in warning for warning in to_digit(seven(ground=230, ink=190)).warnings)


def test_two_digits_are_warned_of() -> None:
    both = Image.new("L", (900, 200), "white")
    both.paste(seven(), (0, 0))
    both.paste(seven(), (600, 0))
    assert any("unlike one digit: 1 more" in warning for warning in to_digit(both).warnings)


def test_much_ink_is_unlike_a_digit() -> None:
    block = Image.new("L", (200, 200), "white")
    block.paste(0, (50, 50, 150, 150))
    assert any("unlike a digit" in warning for warning in to_digit(block).warnings)


def test_very_small_ink_is_warned_of() -> None:
    speck = Image.new("L", (200, 200), "white")
    speck.paste(0, (100, 100, 103, 105))
    assert any("very small: the ink covers 3 × 5 pixels" in warning for warning in to_digit(speck).warnings)


def test_detached_stroke_belongs_to_its_digit() -> None:
    five = Image.new("L", (300, 300), "white")
    draw = ImageDraw.Draw(five)
    draw.arc((80, 120, 200, 250), 200, 140, fill=0, width=16)
    draw.line((130, 60, 210, 60), fill=0, width=16)
    assert to_digit(five).box[1] <= 60  # type: ignore[index]


def test_shadow_on_the_border_is_not_the_digit() -> None:
    picture = seven((400, 300), pen=20)
    picture.paste(30, (0, 0, 12, 300))
    digit = to_digit(picture)
    assert digit.box is not None
    assert digit.box[0] > 100


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 900), (900, 1), (2, 2), (3, 700), (5000, 2), (27, 28), (641, 3)]
)
def test_any_size_is_a_digit_or_blank(size: tuple[int, int]) -> None:
    random = np.random.default_rng(size)
    picture = Image.fromarray(random.integers(0, 2, (size[1], size[0]), np.uint8) * 255)
    with contextlib.suppress(BlankImage):
        assert to_digit(picture).image.shape == (28, 28)


def marked(size: tuple[int, int], ground: int, *pixels: tuple[int, int, int]) -> Image.Image:
    picture = Image.new("L", size, ground)
    for x, y, shade in pixels:
        picture.putpixel((x, y), shade)
    return picture


def half_as_strong_as_a_mark() -> Image.Image:
    """A thin stroke of half the strength of what stands on the border."""
    picture = Image.new("L", (60, 56), 200)
    picture.paste(100, (30, 10, 31, 40))
    picture.paste(0, (0, 20, 3, 22))
    return picture


def half_as_strong_as_specks() -> Image.Image:
    """A block of half the strength of specks, which are lost when it is made smaller."""
    picture = Image.new("L", (640, 640))
    picture.paste(100, (200, 200, 500, 500))
    for column in range(20, 620, 12):
        picture.putpixel((column, 30), 200)
    return picture


HALF_AS_STRONG = {
    "a pixel": marked((5, 14), 181, (1, 0, 37), (3, 8, 209), (2, 12, 109)),
    "a thin stroke": half_as_strong_as_a_mark(),
    "a block": half_as_strong_as_specks(),
}


@pytest.mark.parametrize("name", HALF_AS_STRONG)
def test_ink_of_half_the_strength_of_what_is_no_digit_is_kept(name: str) -> None:
    digit = to_digit(HALF_AS_STRONG[name])
    assert digit.image.max() == 255
    assert digit.ink_share is not None
    assert digit.ink_share > 0.02


def test_ruled_lines_are_told_of() -> None:
    assert "8 ruled lines taken out" in to_digit(PICTURES["ruled in black"]).steps


def test_stroke_from_edge_to_edge_is_no_ruled_line() -> None:
    one = Image.new("L", (300, 400), "white")
    ImageDraw.Draw(one).line((150, 0, 150, 400), fill=0, width=3)
    assert to_digit(one).box == (149, 0, 152, 400)
