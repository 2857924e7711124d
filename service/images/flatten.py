"""Every mode Pillow opens → "L" or "RGB": 16 bits, palettes, inks and transparency."""

from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

_MAX_PROFILE_BYTES = 4 << 20  # press profiles are 0.5 to 3 MB
_WIDE_GREY = ("I", "I;16", "I;16B", "I;16L")


def to_8_bit(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """A loaded picture → mode "L" or "RGB" without transparency, and what was done."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image, []
    if image.mode in _WIDE_GREY:
        return _from_16_bit(image)
    if image.mode == "CMYK":
        return _from_inks(image)
    if image.has_transparency_data:
        return _on_a_ground(image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA"))
    return image.convert("L" if image.mode in ("1", "L") else "RGB"), [f"mode {image.mode} to 8 bits"]


def _from_16_bit(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """65535 → 255: Pillow's own conversion clips at 255."""
    wide = np.asarray(image).astype(np.uint32)
    grey = Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    steps = ["16-bit grey scaled to 8 bits"]
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return grey, steps
    grey.putalpha(Image.fromarray(np.where(wide == clear, 0, 255).astype(np.uint8)))
    flat, more = _on_a_ground(grey)
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


def _on_a_ground(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Mode "LA" or "RGBA" on white or on black, whichever shows more: ink may be only in the alpha."""
    solid, alpha = image.convert(image.mode.removesuffix("A")), image.getchannel("A")
    lowest, highest = alpha.getextrema()
    if lowest == highest:
        return solid, ["uniform transparency dropped"]
    flats = [_composite(solid, alpha, ground) for ground in ("white", "black")]
    ranges = [_range(flat) for flat in flats]
    best = int(ranges[1] > ranges[0])
    return flats[best], [f"transparency laid on {('white', 'black')[best]}"]


def _composite(solid: Image.Image, alpha: Image.Image, ground: str) -> Image.Image:
    return Image.composite(solid, Image.new(solid.mode, solid.size, ground), alpha)


def _range(flat: Image.Image) -> int:
    """Widest span of values in any channel."""
    extrema = flat.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return max(int(high) - int(low) for low, high in bands)
