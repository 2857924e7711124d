"""Every mode Pillow opens → "L" or "RGB": 16 bits, palettes, inks and transparency."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms

_MAX_PROFILE_BYTES = 4 << 20  # press profiles are 0.5 to 3 MB
_SAMPLE_SIDE = 1200  # px; of a larger picture so many rows and columns decide on the ground
UNIFORM, INVISIBLE = "uniform transparency dropped", "complete transparency dropped"
_GROUNDS = ("white", "black")
_CARD_FILLED = 0.5  # of its box, at least: digits fill less, all but the boldest
_EDGE_PLAINER = 2  # times, at least; ink of many shades, grain or a fall of colour, has as many at its edge
_WIDE_GREY = ("I", "I;16", "I;16B", "I;16L")


def read_clear(image: Image.Image, depth: int) -> None:
    """What a PNG says is transparent, in samples of `depth` bits as they are stored, → in those of Pillow's picture.

    Pillow keeps the number and scales the pixels. Of three 16-bit channels it keeps the upper bytes, so that one
    colour cannot be told from its nearest neighbours.
    """
    clear, most = image.info.get("transparency"), 2**depth - 1
    if image.mode == "L" and isinstance(clear, int):
        image.info["transparency"] = (clear & most) * 255 // most
    elif image.mode == "RGB" and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 if depth == 16 else value & most for value in clear)


def to_8_bit(image: Image.Image, *, of_ink: bool) -> tuple[Image.Image, list[str]]:
    """A loaded picture → mode "L" or "RGB" without transparency, and what was done. `of_ink` says that it should show
    ink on paper, whose colour is then looked for."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image, []
    if image.mode in _WIDE_GREY:
        return _from_16_bit(image, of_ink=of_ink)
    if image.mode == "CMYK":
        return _from_inks(image)
    if image.has_transparency_data:
        mode = "LA" if image.mode in ("1", "L", "LA") else "RGBA"
        return _on_a_ground(image if image.mode == mode else image.convert(mode), of_ink=of_ink)
    return image.convert("L" if image.mode in ("1", "L") else "RGB"), [f"mode {image.mode} to 8 bits"]


def _from_16_bit(image: Image.Image, *, of_ink: bool) -> tuple[Image.Image, list[str]]:
    """65535 → 255: Pillow's own conversion clips at 255."""
    wide = np.asarray(image)
    to_byte = np.rint(np.arange(65536) / 257).astype(np.uint8)
    grey = Image.fromarray(to_byte[np.clip(wide, 0, 65535)] if image.mode == "I" else to_byte[wide])
    steps = ["16-bit grey scaled to 8 bits"]
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return grey, steps
    grey.putalpha(Image.fromarray(np.where(wide == clear, 0, 255).astype(np.uint8)))
    flat, more = _on_a_ground(grey, of_ink=of_ink)
    return flat, steps + more


def _from_inks(image: Image.Image) -> tuple[Image.Image, list[str]]:
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and 0 < len(profile) <= _MAX_PROFILE_BYTES:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            screen = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, screen, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # a damaged profile: the picture can still be read without it
        else:
            if converted is not None:
                return converted, ["CMYK to RGB through the embedded profile"]
    return image.convert("RGB"), ["CMYK to RGB"]


def _on_a_ground(image: Image.Image, *, of_ink: bool) -> tuple[Image.Image, list[str]]:
    """Mode "LA" or "RGBA" on the colour of its own paper; without any on white or on black, whichever shows more:
    ink may be only in the alpha. What else is cut out would vanish in its own colour."""
    solid, alpha = image.convert(image.mode.removesuffix("A")), image.getchannel("A")
    lowest, highest = alpha.getextrema()
    if lowest == highest:
        return solid, [UNIFORM if highest else INVISIBLE]
    small = (solid, alpha) if max(image.size) <= _SAMPLE_SIDE else (_sample(solid), _sample(alpha))
    paper = _paper(*small) if of_ink else None
    ground = paper or max(_GROUNDS, key=lambda ground: _range(_composite(*small, ground)))
    # In place, since a large picture is a hundred megabytes.
    solid.paste(ground, mask=ImageChops.invert(alpha))
    return solid, [f"transparency laid on {'the colour along its edge' if paper else ground}"]


def _paper(solid: Image.Image, alpha: Image.Image) -> tuple[int, ...] | None:
    """The colour along the edge of an opaque card with transparent corners; None where what is opaque is all ink, or
    all paper and the ink was cut out.

    A card fills its box, has no hole or notch, as digits have, and its colours differ more within than along its edge.
    """
    opaque = np.asarray(alpha) == 255
    # The two outermost pixels may hold some of the page that it was made for.
    card = _worn(_worn(opaque))
    edge = card & ~_worn(card)
    if not edge.any() or np.count_nonzero(card) <= _CARD_FILLED * _box_area(card):
        return None
    if not (_in_one_piece(opaque) and _in_one_piece(opaque.T)):
        return None
    bands = [np.asarray(band) for band in solid.split()]
    if _EDGE_PLAINER * _span(bands, edge) >= _span(bands, card):
        return None
    return tuple(int(np.median(band[edge])) for band in bands)


def _span(bands: list[NDArray[np.uint8]], mask: NDArray[np.bool_]) -> int:
    """Of values [h,w] within the mask, the widest span in any band."""
    return max(int(np.ptp(band[mask])) for band in bands)


def _in_one_piece(mask: NDArray[np.bool_]) -> bool:
    """Whether what is set of each row of [h,w] is one run."""
    begins = mask.copy()
    begins[:, 1:] &= ~mask[:, :-1]
    return bool(np.count_nonzero(begins, axis=1).max() <= 1)


def _worn(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without the pixels next to one that is not set: bool [h,w]."""
    padded = np.pad(mask, 1, mode="edge")
    rows = padded[:-2] & padded[1:-1] & padded[2:]
    return np.asarray(rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:])


def _box_area(mask: NDArray[np.bool_]) -> int:
    return int(np.prod([np.ptp(np.flatnonzero(mask.any(axis))) + 1 for axis in (0, 1)]))


def _composite(solid: Image.Image, alpha: Image.Image, ground: str) -> Image.Image:
    flat = Image.new(solid.mode, solid.size, ground)
    flat.paste(solid, mask=alpha)
    return flat


def _sample(image: Image.Image) -> Image.Image:
    return image.resize((_SAMPLE_SIDE, _SAMPLE_SIDE), Image.Resampling.NEAREST)


def _range(flat: Image.Image) -> int:
    """Widest span of values in any channel."""
    extrema = flat.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return max(int(high) - int(low) for low, high in bands)
