import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.images import PrepareOptions, prepare
from service.images.colour import Fit, fit_to
from service.manifest import InputSpec
from tests.service.images.files import MAX_PIXELS, encoded

COLOUR = InputSpec(height=32, width=32, channels=3)


def stripes(width: int, height: int) -> Image.Image:
    """Left third red, middle green, right blue."""
    picture = Image.new("RGB", (width, height), (0, 255, 0))
    picture.paste((255, 0, 0), (0, 0, width // 3, height))
    picture.paste((0, 0, 255), (2 * width // 3, 0, width, height))
    return picture


@pytest.mark.parametrize(
    ("fit", "left", "corner"),
    [
        ("cover", (0, 255, 0), (0, 255, 0)),
        ("stretch", (255, 0, 0), (255, 0, 0)),
        ("contain", (255, 0, 0), None),
    ],
)
def test_fit_keeps_what_it_says(fit: Fit, left: tuple[int, ...], corner: tuple[int, ...] | None) -> None:
    shown = np.asarray(fit_to(stripes(300, 100), 32, 32, fit)[0])
    assert shown.shape == (32, 32, 3)
    assert tuple(shown[16, 1]) == left
    assert corner is None or tuple(shown[0, 1]) == corner


def test_contain_fills_with_the_colour_of_the_border() -> None:
    shown = np.asarray(fit_to(Image.new("RGB", (300, 100), (10, 20, 30)), 32, 32, "contain")[0])
    assert (shown == (10, 20, 30)).all()


def test_contain_keeps_the_whole_picture_between_bands_of_the_mean_of_its_border() -> None:
    picture = Image.new("RGB", (300, 100), (200, 40, 0))
    picture.paste("black", (30, 10, 270, 90))
    shown = np.asarray(fit_to(picture, 32, 32, "contain")[0])
    content = np.flatnonzero((shown[:, 16] < 60).all(1))
    assert len(content) in (8, 9, 10)  # of 11 rows, less the border
    assert abs(content.mean() - 15.5) <= 1
    bands = np.concatenate([shown[:10], shown[-10:]])
    assert np.ptp(bands, axis=(0, 1)).max() == 0
    assert np.abs(bands[0, 0] - np.array((200, 40, 0))).max() < 25


@pytest.mark.parametrize("fit", ["cover", "contain", "stretch"])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (33, 32), (2000, 31)])
def test_any_size_fits(fit: Fit, size: tuple[int, int]) -> None:
    shown = fit_to(Image.new("RGB", size, (90, 90, 90)), 32, 32, fit)[0]
    assert shown.size == (32, 32)
    assert np.abs(np.asarray(shown).astype(int) - 90).max() <= 1


def test_fine_patterns_are_averaged_not_sampled() -> None:
    checks = np.indices((512, 512)).sum(0) % 2 * 255
    shown = fit_to(Image.fromarray(checks.astype(np.uint8)), 32, 32, "cover")[0]
    assert np.abs(np.asarray(shown).astype(int) - 127).max() <= 3


def test_grey_pictures_become_colour() -> None:
    shown = prepare(encoded(np.full((50, 50), 77, np.uint8)), COLOUR, PrepareOptions(), max_pixels=MAX_PIXELS)
    assert (shown.image == 77).all()


def test_inverted_only_when_asked() -> None:
    data = encoded(stripes(32, 32))
    plain, asked = (
        prepare(data, COLOUR, PrepareOptions(invert=i), max_pixels=MAX_PIXELS) for i in ("auto", "yes")
    )
    assert (plain.image == 255 - asked.image).all()
    assert (plain.inverted, asked.inverted) == (False, True)


def surface(spread: int, side: int = 32) -> NDArray[np.uint8]:
    """Of one colour but for one pixel."""
    picture = np.full((side, side, 3), (60, 120, 180), np.uint8)
    picture[side // 3, side // 2, 1] += spread
    return picture


@pytest.mark.parametrize("options", [PrepareOptions(), PrepareOptions("none"), PrepareOptions(invert="yes")])
def test_a_picture_with_nothing_on_it_is_warned_of(options: PrepareOptions) -> None:
    plain, not_plain = (
        prepare(encoded(surface(spread)), COLOUR, options, max_pixels=MAX_PIXELS).warnings
        for spread in (9, 90)
    )
    assert plain == ["plain: its pixels differ by 9 of 255 at most, so there is nothing to name"]
    assert not_plain == []


def test_a_large_one_is_warned_of_as_well() -> None:
    shown = prepare(encoded(surface(0, 300)), COLOUR, PrepareOptions(), max_pixels=MAX_PIXELS)
    assert shown.warnings == ["plain: its pixels differ by 0 of 255 at most, so there is nothing to name"]
