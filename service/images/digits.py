"""Any picture of one digit → MNIST's own form, by finding its ink and doing what MNIST's makers did."""

from dataclasses import dataclass, field, replace
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import BlankImage, counted
from service.images import blobs, form, rules, strokes
from service.images.decode import Box, in_the_whole, pixels
from service.images.ground import Excess, FloatImage, excess

Invert = Literal["auto", "yes", "no"]

SIDE = form.SIDE
LEAST_CONTRAST = 0.06  # of black on white: less is blank
FAINT_CONTRAST = 0.2  # less is warned of
NOISE_FACTOR = 5  # a contrast of fewer standard deviations of the noise is blank
SURE_CONTRAST = 0.3  # is no noise: what looks like it in a tiny picture is its strokes
_HALF = np.float32(0.5)
_CLEAN = 0.006  # noise of a drawing or a screenshot
_MARGIN = 50  # the part of the shorter side at each border that has no say in the polarity
_TOP = 10_000  # one pixel in so many makes the contrast
_DETAIL = 120  # px; the longer side of the ink's box while its strokes are worked on
_STEEPNESS = 4  # of the edge that replaces a blurred one
_USUAL_SHARE = (0.048, 0.258)  # of ink, for 98 of 100 MNIST images
_SHEET_FILLED = 0.75  # ink that fills so much of its box is a sheet of paper,
_SHEET_SHARE = 0.4  # if the box is at least so much of the picture either way,
_SHEET_PIXELS = 100  # and the picture so large
_SHEET_EDGE = 0.05  # of the sheet's sides: cut off, since a sheet lies askew
_SMALLEST_BOX = 8  # px


OWN_FORM = "in MNIST's own form: untouched"


@dataclass(slots=True)  # frozen, it would take three times as long to make
class Digit:
    """uint8 [28,28] in MNIST's own form, and how it came to be."""

    image: NDArray[np.uint8]
    steps: list[str] = field(default_factory=list)
    inverted: bool = False
    box: Box | None = None
    ink_share: float | None = None
    warnings: list[str] = field(default_factory=list)


def to_digit(
    image: Image.Image, invert: Invert = "auto", *, scale: int = 1, on_a_sheet: bool = False
) -> Digit:
    """A picture of mode "L" or "RGB" → MNIST's own form. Raises BlankImage with the contrast measured.

    The box is in pixels of `image`, and the warnings in those of what it was reduced from by `scale`."""
    if image.size == (SIDE, SIDE):
        own = recognised(pixels(image.convert("L")), invert)
        if own is not None:
            return own
    found = excess(image)
    inverted, contrast = _polarity(found, invert)
    _refuse_blank(found, contrast, invert)
    ink, others, lines = _ink(found, inverted, contrast)
    if found.scale > 1 and _pen(ink) < strokes.THINNEST and found.noise < _CLEAN:
        found, contrast = _with_hairlines(image, found, inverted, contrast)
        ink, others, lines = _ink(found, inverted, contrast)
    box = in_the_whole(_bounds(ink >= _HALF), found.scale, image.size)
    on_sheet = None if on_a_sheet else _on_the_sheet(image, ink, box, invert, scale)
    if on_sheet is not None:
        return on_sheet
    placed, pen = _formed(_cropped(ink))
    share = form.ink_share(placed)
    steps = [*_told(found, inverted, invert, lines), *pen, "placed as MNIST does"]
    size = (scale * (box[2] - box[0]), scale * (box[3] - box[1]))
    return Digit(placed, steps, inverted, box, share, _doubts(contrast, share, others, size))


def _with_hairlines(
    image: Image.Image, found: Excess, inverted: bool, contrast: float
) -> tuple[Excess, float]:
    """What was found and its contrast, with lines thinner than a block whole; as it was where that costs contrast:
    specks on the other side of the ground are then further from it than the ink is."""
    fine = excess(image, hairlines_of=found)
    sharper = _polarity(fine, "yes" if inverted else "no")[1]
    return (fine, sharper) if sharper >= contrast else (found, contrast)


def _on_the_sheet(image: Image.Image, ink: FloatImage, box: Box, invert: Invert, scale: int) -> Digit | None:
    """The digit on a sheet of paper that lies on a ground of another colour; None where there is no sheet."""
    left, top, right, bottom = box
    within = _cropped(ink) >= _HALF
    narrowest = min((right - left) / image.width, (bottom - top) / image.height)
    if min(image.size) < _SHEET_PIXELS or narrowest < _SHEET_SHARE or within.mean() < _SHEET_FILLED:
        return None
    x, y = round(_SHEET_EDGE * (right - left)), round(_SHEET_EDGE * (bottom - top))
    try:
        sheet = image.crop((left + x, top + y, right - x, bottom - y))
        digit = to_digit(sheet, invert, scale=scale, on_a_sheet=True)
    except BlankImage:
        return None
    inner = digit.box or (0, 0, 0, 0)
    moved = tuple(edge + shift for edge, shift in zip(inner, (left + x, top + y) * 2, strict=True))
    return replace(digit, steps=["sheet of paper found and cut out", *digit.steps], box=cast("Box", moved))


def _ink(found: Excess, inverted: bool, contrast: float) -> tuple[FloatImage, int, int]:
    """The digit's ink [h,w], 1 where it is strongest, 0 off the digit; how many other blobs and how many ruled
    lines were left out."""
    ink = (-found.value if inverted else found.value) * np.float32(1 / contrast)
    ink, lines = rules.without_rules(ink)
    belongs, others = blobs.digit_of(ink >= _HALF, ink)
    digit = np.where(belongs, ink, np.float32(0))
    # A mark that is no digit may be stronger: one of half its strength would be lost as soon as it is resized.
    return digit / min(digit.max(), np.float32(1)), others, lines


def _pen(ink: FloatImage) -> float:
    """Stroke width over the longer side of the ink's box."""
    digit = _cropped(ink)
    return float(strokes.width(digit >= _HALF) / max(digit.shape))


def _cropped(ink: FloatImage) -> FloatImage:
    left, top, right, bottom = _bounds(ink >= _HALF)
    return ink[top:bottom, left:right]


def _refuse_blank(found: Excess, contrast: float, invert: Invert) -> None:
    least = max(LEAST_CONTRAST, min(NOISE_FACTOR * found.noise, SURE_CONTRAST))
    if contrast >= least:
        return
    asked = {
        "auto": "",
        "yes": f" as darker than it (invert={invert})",
        "no": f" as brighter than it (invert={invert})",
    }
    other = _polarity(found, "no" if invert == "yes" else "yes")[1]
    hint = (
        f"; invert=auto would find {other:.3f} on its other side"
        if invert != "auto" and other >= least
        else ""
    )
    raise BlankImage(
        f"nothing stands out from the ground{asked[invert]}: the contrast is {max(contrast, 0):.3f} of black on white; "
        f"{least:.3f} is the least for a picture with noise of {found.noise:.3f}{hint}"
    )


def recognised(grey: NDArray[np.uint8], invert: Invert) -> Digit | None:
    """uint8 [28,28] already in MNIST's own form, or its negative → the same, bit for bit; else None."""
    if invert != "yes" and form.has_form(grey):
        return Digit(grey, [OWN_FORM], ink_share=form.ink_share(grey))
    if invert != "no" and form.has_form(255 - grey):
        negative = 255 - grey
        return Digit(
            negative, ["the negative of MNIST's own form"], inverted=True, ink_share=form.ink_share(negative)
        )
    return None


def ink_of_recognised(images: NDArray[np.uint8], invert: Invert) -> list[float | None]:
    """Of uint8 [N,28,28], the share of ink of those that are in MNIST's own form as they came; None for others, their
    negatives too."""
    if invert == "yes":
        return [None] * len(images)
    shares = form.ink_shares(images).tolist()
    formed = form.have_form(images).tolist()
    return [share if has_form else None for share, has_form in zip(shares, formed, strict=True)]


def _polarity(found: Excess, invert: Invert) -> tuple[bool, float]:
    """Whether the ink is the dark side, and its contrast: the side that reaches further from the ground."""
    margin = min(found.value.shape) // _MARGIN  # frames and dark corners are no ink
    value = found.value[margin:-margin, margin:-margin] if margin else found.value
    dark, bright = _reach(-value), _reach(value)
    inverted = dark > bright if invert == "auto" else invert == "yes"
    return inverted, dark if inverted else bright


def _reach(value: FloatImage) -> float:
    """Mean of the greatest values, one in _TOP."""
    count = max(1, value.size // _TOP)
    most = value[value > value.max() / 2]
    if most.size < count:
        most = value.reshape(-1)
    return float(np.partition(most, most.size - count)[most.size - count :].mean())


def _bounds(mask: NDArray[np.bool_]) -> Box:
    """Left, top, right and bottom of what is set."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _formed(ink: FloatImage) -> tuple[NDArray[np.uint8], list[str]]:
    """Ink cropped to its box → MNIST's own form, with a pen like theirs."""
    relative = strokes.width(ink >= _HALF) / max(ink.shape)
    if relative < strokes.THINNEST:
        sharp = _thickened(ink)
        steps = [f"strokes thickened: they were {relative:.1%} of the digit's length"]
    else:
        sharp = _sharpened(_resized(ink, _DETAIL / max(ink.shape)))
        steps = []
        if relative > strokes.THICKEST:
            sharp = strokes.narrowed(sharp, round((relative - strokes.THICK_AIM) / 2 * _DETAIL))
            steps = [f"strokes thinned: they were {relative:.1%} of the digit's length"]
    left, top, right, bottom = _bounds(sharp >= min(form.INK + 1, int(sharp.max())))
    return form.place(sharp[top:bottom, left:right]), steps


def _thickened(ink: FloatImage) -> NDArray[np.uint8]:
    """Strokes brought to THIN_AIM; the picture is first made small without losing a hairline."""
    while max(ink.shape) > 2 * _DETAIL:
        ink = _halved(ink)
    sharp = _sharpened(ink)
    width, length = strokes.width(sharp > form.INK), max(sharp.shape)
    if length < _DETAIL / 2:
        sharp = _sharpened(_resized(ink, _DETAIL / length))
        width, length = width * _DETAIL / length, _DETAIL
    steps = round((strokes.THIN_AIM * length - width) / 2 / (1 - strokes.THIN_AIM))
    return strokes.widened(sharp, max(steps, 0))


def _halved(ink: FloatImage) -> FloatImage:
    """Half the size, by the largest of each four."""
    even = np.pad(ink, ((0, ink.shape[0] % 2), (0, ink.shape[1] % 2)))
    rows = np.maximum(even[::2], even[1::2])
    return np.maximum(rows[:, ::2], rows[:, 1::2])


def _resized(ink: FloatImage, factor: float) -> FloatImage:
    size = [max(1, round(side * factor)) for side in reversed(ink.shape)]
    return np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC))


def _sharpened(ink: FloatImage) -> NDArray[np.uint8]:
    """Coverage by ink, 0…255: a steep edge where the ink is half as strong as its strongest."""
    edge: FloatImage = (ink - _HALF) * np.float32(255 * _STEEPNESS) + np.float32(127.5)
    return np.clip(edge, 0, 255).astype(np.uint8)


def _told(found: Excess, inverted: bool, invert: Invert, lines: int) -> list[str]:
    how = "as asked" if invert != "auto" else "which stands out more"
    return [
        *([f"reduced by {found.scale}"] if found.scale > 1 else []),
        "ground of one colour subtracted" if found.flat else "uneven ground fitted and subtracted",
        f"ink is the {'dark' if inverted else 'bright'} side, {how}",
        *([f"{lines} ruled lines taken out"] if lines else []),
    ]


def _doubts(contrast: float, share: float, others: int, size: tuple[int, int]) -> list[str]:
    low, high = _USUAL_SHARE
    doubts = []
    if contrast < FAINT_CONTRAST:
        doubts.append(f"nearly blank: the contrast is {contrast:.2f} of black on white")
    if max(size) < _SMALLEST_BOX:
        doubts.append(f"very small: the ink covers {size[0]} × {size[1]} pixels")
    if not low <= share <= high:
        doubts.append(f"unlike a digit: {share:.1%} of it is ink, of MNIST's {low:.1%} to {high:.1%}")
    if others:
        doubts.append(f"unlike one digit: {counted(others, 'more blob')} far apart left out")
    return doubts
