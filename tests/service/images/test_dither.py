import numpy as np
import pytest
from PIL import Image, ImageDraw

from service.images import Prepared, PrepareOptions, dither, form, prepare
from service.images.digits import to_digit
from service.manifest import InputSpec
from tests.service.images.files import MAX_PIXELS, encoded, seven

DIGIT = InputSpec(height=28, width=28, channels=1)


def prepared(picture: Image.Image, kind: str = "PNG") -> Prepared:
    return prepare(encoded(picture, kind), DIGIT, PrepareOptions(), max_pixels=MAX_PIXELS)


def scattered(size: tuple[int, int], dots: int, picture: Image.Image) -> Image.Image:
    """The picture with black dots at random places."""
    random = np.random.default_rng(0)
    for _ in range(dots):
        picture.putpixel((int(random.integers(size[0])), int(random.integers(size[1]))), 0)
    return picture


def dotted_paper(size: tuple[int, int]) -> Image.Image:
    paper = np.full(size[::-1], 255, np.uint8)
    paper[::10, ::10] = 0
    return Image.fromarray(np.minimum(paper, np.asarray(seven(size))))


@pytest.mark.parametrize(("ground", "ink"), [(250, 30), (220, 30), (190, 60), (60, 190), (10, 240)])
@pytest.mark.parametrize("side", [128, 250, 500, 900])
def test_greys_made_of_dots_are_greys_again(side: int, ground: int, ink: int) -> None:
    picture = seven((side, side), pen=side // 14, ground=ground, ink=ink).convert("1")
    shown = prepared(picture)
    assert dither.BLURRED in shown.steps
    assert shown.inverted is (ink < ground)
    assert shown.warnings == []
    assert form.has_form(shown.image[..., 0])
    plain = to_digit(seven((side, side), pen=side // 14)).image
    assert np.corrcoef(shown.image.ravel(), plain.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("side", [300, 450, 500])
def test_thin_strokes_among_sparse_dots_stay_whole(side: int) -> None:
    eight = Image.new("1", (side, side), 1)
    for ring in ((0.35, 0.25, 0.65, 0.5), (0.32, 0.5, 0.68, 0.78)):
        ImageDraw.Draw(eight).ellipse([side * edge for edge in ring], outline=0)
    dotted = np.array(eight)
    dotted[::8, ::8] = False
    shown = prepared(Image.fromarray(dotted))
    assert dither.BLURRED in shown.steps
    assert shown.warnings == []
    assert shown.box == pytest.approx([side * edge for edge in (0.32, 0.25, 0.68, 0.78)], abs=9)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_dots_are_seen_in_every_format(kind: str, mode: str) -> None:
    picture = seven((300, 300), pen=20, ground=220, ink=30).convert("1").convert(mode)
    assert dither.BLURRED in prepared(picture, kind).steps


@pytest.mark.parametrize(
    "picture",
    [
        seven((300, 200), pen=1),
        seven((300, 200), pen=14),
        scattered((300, 200), 300, seven()),
        dotted_paper((300, 200)),
        seven((300, 200), ground=220, ink=30),
        seven((60, 300), pen=4, ground=220, ink=30).convert("1"),
        seven((1400, 300), pen=14, ground=220, ink=30).convert("1"),
    ],
    ids=["hairline", "pen", "dirt", "dotted paper", "greys", "too small", "so large that it is reduced"],
)
def test_other_pictures_are_left_as_they_are(picture: Image.Image) -> None:
    assert dither.undone(picture.convert("L")) is None
