import struct

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageFilter, ImageFont

from service.images import flatten
from service.images.decode import decode, pixels
from tests.service.images.files import Colour, chunk, corners, decoded, encoded, png, red_profile, seven


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    wide = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert pixels(decoded(encoded(Image.fromarray(wide))).image).tolist() == [[0, 1, 128, 255]]


def test_one_sixteen_bit_grey_made_transparent_is_laid_on_a_ground() -> None:
    rows = b"".join(b"\0" + struct.pack(">4H", 0, 0, 65535, 0) for _ in range(4))
    data = png(4, 4, chunk(b"tRNS", struct.pack(">H", 65535)), depth=16, rows=rows)
    assert pixels(decoded(data).image).tolist() == [[0, 0, 255, 0]] * 4


@pytest.mark.parametrize(("depth", "stored"), [(2, 1), (4, 0), (4, 3)])
def test_a_grey_of_few_bits_made_transparent_is_laid_on_a_ground(depth: int, stored: int) -> None:
    other = 1 if stored == 0 else 0
    row = [stored, other, other, other]
    bits = "".join(f"{sample:0{depth}b}" for sample in row)
    rows = (b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")) * 2
    clear = chunk(b"tRNS", struct.pack(">H", stored + (1 << depth)))  # of which only the lower bits count
    shown = pixels(decoded(png(4, 2, clear, depth=depth, rows=rows)).image)
    grey = other * 255 // (2**depth - 1)
    assert (shown[:, 1:] == grey).all()
    assert (shown[:, 0] == 255).all()


@pytest.mark.parametrize(("clear", "expected"), [(0x4080, [255, 0, 0, 0]), (0x0100, [64, 0, 0, 0])])
def test_a_sixteen_bit_colour_made_transparent_is_known_by_its_upper_bytes(
    clear: int, expected: list[int]
) -> None:
    rows = b"".join(b"\0" + struct.pack(">12H", *[0x4080] * 3, *[0] * 9) for _ in range(2))
    data = png(4, 2, chunk(b"tRNS", struct.pack(">3H", *[clear] * 3)), depth=16, colour=2, rows=rows)
    assert pixels(decoded(data).image)[..., 1].tolist() == [expected] * 2


@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (255, 0)])
def test_ink_that_is_only_in_the_alpha_is_kept(ink: int, ground: int) -> None:
    alpha = np.zeros((20, 20), np.uint8)
    alpha[5:15, 9:11] = 255
    layers = np.dstack([np.full((20, 20, 3), ink, np.uint8), alpha])
    shown = pixels(decoded(encoded(layers)).image)
    assert (shown[5:15, 9:11] == ink).all()
    assert (shown[alpha == 0] == ground).all()


def test_uniform_transparency_is_dropped() -> None:
    layers = np.dstack([np.asarray(corners()), np.full((32, 48), 7, np.uint8)])
    assert (pixels(decoded(encoded(layers)).image) == np.asarray(corners())).all()


def test_a_picture_that_a_viewer_would_not_show_is_warned_of() -> None:
    layers = np.dstack([np.asarray(corners()), np.zeros((32, 48), np.uint8)])
    shown = decoded(encoded(layers))
    assert (pixels(shown.image) == np.asarray(corners())).all()
    assert [warning.partition(":")[0] for warning in shown.warnings] == ["invisible"]


def test_cmyk_goes_through_its_profile() -> None:
    shown = decoded(
        encoded(Image.new("CMYK", (16, 16), (200, 30, 10, 40)), "JPEG", icc_profile=red_profile())
    )
    assert shown.steps == ["CMYK to RGB through the embedded profile"]
    red, green, blue = pixels(shown.image)[8, 8].tolist()
    assert red > 90
    assert max(green, blue) < 20


def test_cmyk_with_a_useless_profile_is_still_read() -> None:
    inks = Image.new("CMYK", (16, 16), (200, 30, 10, 40))
    as_screen = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decoded(encoded(inks, "JPEG", icc_profile=as_screen)).steps == ["CMYK to RGB"]
    assert decoded(encoded(inks, "JPEG")).image.mode == "RGB"


def test_cmyk_with_a_profile_of_many_megabytes_is_read_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatten, "_MAX_PROFILE_BYTES", len(red_profile()))
    inks = Image.new("CMYK", (16, 16), (200, 30, 10, 40))
    within = decoded(encoded(inks, "JPEG", icc_profile=red_profile()))
    beyond = decoded(encoded(inks, "JPEG", icc_profile=red_profile() + b"\0"))
    assert within.steps == ["CMYK to RGB through the embedded profile"]
    assert beyond.steps == ["CMYK to RGB"]


OWN_PAPER = ["transparency laid on the colour along its edge"]


def card(ground: Colour, ink: Colour, radius: int, side: int = 200) -> Image.Image:
    """A 7 on a square with round corners, around which there is nothing; its edges are smooth."""
    picture = seven((side, side), side // 14, "RGB", ground, ink)
    large = Image.new("L", (4 * side, 4 * side))
    ImageDraw.Draw(large).rounded_rectangle((0, 0, 4 * side - 1, 4 * side - 1), 4 * radius, fill=255)
    picture.putalpha(large.resize((side, side), Image.Resampling.BOX))
    return picture


@pytest.mark.parametrize(
    ("picture", "paper"),
    [
        (card("gray", "white", 40), (128, 128, 128)),
        (card((66, 133, 244), "white", 40), (66, 133, 244)),
        (card("black", "white", 60), (0, 0, 0)),
        (card("black", "white", 100), (0, 0, 0)),
        (card("white", "black", 100), (255, 255, 255)),
        (card("gray", "white", 6, 28), (128, 128, 128)),
        (card("gray", "white", 300, 1500), (128, 128, 128)),
        (card("gray", "white", 0).rotate(20, Image.Resampling.BICUBIC, expand=True), (128, 128, 128)),
    ],
    ids=["grey", "blue", "black", "black disc", "white disc", "tiny", "large", "askew"],
)
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_around_a_card_there_is_its_own_paper(
    picture: Image.Image, paper: tuple[int, ...], mode: str
) -> None:
    shown = decoded(encoded(picture.convert(mode)))
    grey = Image.new("RGB", (1, 1), paper).convert("L").getpixel((0, 0))
    assert shown.steps == OWN_PAPER
    assert shown.image.getpixel((0, 0)) == (paper if mode == "RGBA" else grey)


def test_a_fringe_of_the_page_that_a_card_was_made_for_is_not_its_paper() -> None:
    smooth = card("gray", "white", 60)
    fringed = Image.new("RGB", smooth.size, "white")
    fringed.paste(smooth, mask=smooth)
    fringed.putalpha(smooth.getchannel("A").point(lambda a: 255 if a else 0))
    shown = decoded(encoded(fringed))
    assert shown.steps == OWN_PAPER
    assert shown.image.getpixel((0, 0)) == (128, 128, 128)


def bold(alpha: Image.Image, shades: Image.Image) -> Image.Image:
    """These shades, cut to fill their box, where the ink of a thick 7 is."""
    box = alpha.getbbox()
    assert box is not None
    picture = shades.convert("RGBA")
    picture.putalpha(alpha)
    return picture.crop(box)


def bar() -> Image.Image:
    """The alpha of a thick 1, which fills more than half of its box."""
    large = Image.new("L", (400, 400))
    ImageDraw.Draw(large).line((150, 40, 230, 360), fill=255, width=120)
    return large.filter(ImageFilter.GaussianBlur(3)).resize((200, 200))


GRAIN = np.random.default_rng(0).normal(60, 15, (200, 200)).clip(0, 255).astype(np.uint8)
FALL = np.linspace(0, 150, 200)[:, None].repeat(200, 1).astype(np.uint8)
INK_OR_HOLES = {
    "ink of one shade": bold(bar(), Image.new("L", (200, 200))),
    "ink with grain": bold(bar(), Image.fromarray(GRAIN)),
    "ink of many shades": bold(bar(), Image.fromarray(FALL)),
    "paper with the digit cut out": bold(
        Image.eval(bar(), lambda a: 255 - a), Image.new("L", (200, 200), 255)
    ),
}


@pytest.mark.parametrize("name", INK_OR_HOLES)
def test_ink_is_not_taken_for_paper_nor_paper_with_a_hole_for_both(name: str) -> None:
    picture = INK_OR_HOLES[name]
    alpha = np.asarray(picture.getchannel("A"))
    shown = pixels(decoded(encoded(picture)).image.convert("L")).astype(int)
    assert (alpha == 255).mean() > 0.4
    assert abs(np.median(shown[alpha == 0]) - np.median(shown[alpha == 255])) > 90


@pytest.mark.parametrize("digit", "0123456789")
@pytest.mark.parametrize("stroke", [8, 14])
def test_the_outline_of_a_shaded_digit_is_not_its_paper(digit: str, stroke: int) -> None:
    font = ImageFont.load_default(260)
    outlined, within = (Image.new("L", (320, 320)) for _ in range(2))
    for layer, width in ((outlined, stroke), (within, 4)):
        pen = ImageDraw.Draw(layer)
        pen.text((160, 160), digit, fill=255, anchor="mm", font=font, stroke_width=width)
    picture = Image.new("RGB", outlined.size, (20, 60, 200))
    picture.paste(
        (240, 240, 255), mask=ImageChops.multiply(within, Image.linear_gradient("L").resize((320, 320)))
    )
    picture.putalpha(outlined)
    assert decoded(encoded(picture)).steps != OWN_PAPER


@pytest.mark.parametrize(("of_ink", "ground"), [(True, (70, 140, 50)), (False, (255, 255, 255))])
def test_what_is_cut_out_and_no_ink_stands_out_from_its_ground(of_ink: bool, ground: tuple[int, ...]) -> None:
    frog = Image.new("RGBA", (256, 256))
    pen = ImageDraw.Draw(frog)
    pen.ellipse((20, 60, 236, 220), fill=(70, 140, 50, 255))
    pen.ellipse((76, 100, 104, 128), fill=(0, 0, 0, 255))
    shown = decode(encoded(frog), max_pixels=256 * 256, of_ink=of_ink)
    assert shown.image.getpixel((0, 0)) == ground


def test_strokes_darker_along_their_middle_are_ink() -> None:
    ink = seven((200, 200), 24, ground="black", ink="white")
    brush = Image.new("L", ink.size, 150)
    brush.paste(0, mask=ink.filter(ImageFilter.MinFilter(11)))
    brush.putalpha(ink)
    assert decoded(encoded(brush)).steps == ["transparency laid on white"]


def test_a_hole_that_is_among_none_of_the_pixels_looked_at_is_filled_all_the_same() -> None:
    layers = np.zeros((1300, 1300, 2), np.uint8)
    layers[600:700, :, 0] = layers[..., 1] = 255
    layers[6, 6] = 0, 0
    assert decoded(encoded(layers)).image.size == (1300, 1300)
