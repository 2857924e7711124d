"""Any picture → the size a colour net takes."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Fit = Literal["cover", "contain", "stretch"]
UNTOUCHED = "already of the size the model takes: untouched"
PLAIN = 16  # of 255; of CIFAR-10's 10,000 test images the plainest has 76
_APART = 97  # pixels: odd, so that those looked at first are at every place along a row
_REDUCING_GAP = 3.0  # box-reduce first to three times the size wanted: as good, and far cheaper


def fit_to(image: Image.Image, width: int, height: int, fit: Fit) -> tuple[Image.Image, list[str]]:
    """Mode "RGB" or "L" → "RGB" of width × height pixels, and what was done.

    `cover` fills the frame and crops the longer side about its middle, `contain` keeps the whole
    picture on a ground of its mean border colour, `stretch` gives up the aspect ratio. A picture of
    this size already is returned untouched.
    """
    colour = image if image.mode == "RGB" else image.convert("RGB")
    if colour.size == (width, height):
        return colour, [UNTOUCHED]
    steps = [f"{fit} from {colour.width} × {colour.height} to {width} × {height}, antialiased"]
    if fit == "contain":
        return _contain(colour, width, height), steps
    box = (
        _covering_box(colour, width, height)
        if fit == "cover"
        else (0.0, 0.0, float(colour.width), float(colour.height))
    )
    return _resize(colour, width, height, box), steps


def doubts(image: NDArray[np.uint8]) -> list[str]:
    """The warning for uint8 [H,W,C] on which there is nothing to see; a net names something all the same."""
    height, width, channels = image.shape
    samples = image.tobytes()
    for channel in range(channels):
        some = samples[channel :: channels * _APART]
        if max(some) - min(some) > PLAIN:
            return []  # nearly every picture ends here
    spread = int(np.ptp(image.reshape(height * width, channels), axis=0).max())
    if spread > PLAIN:
        return []
    return [f"plain: its pixels differ by {spread} of 255 at most, so there is nothing to name"]


def _resize(
    image: Image.Image, width: int, height: int, box: tuple[float, float, float, float]
) -> Image.Image:
    return image.resize((width, height), Image.Resampling.BICUBIC, box, _REDUCING_GAP)


def _covering_box(image: Image.Image, width: int, height: int) -> tuple[float, float, float, float]:
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    return left, top, left + width * scale, top + height * scale


def _contain(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = max(image.width / width, image.height / height)
    inner_width, inner_height = (max(1, round(side / scale)) for side in image.size)
    inner = _resize(image, inner_width, inner_height, (0.0, 0.0, float(image.width), float(image.height)))
    framed = Image.new("RGB", (width, height), _border_colour(inner))
    framed.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
    return framed


def _border_colour(image: Image.Image) -> tuple[int, int, int]:
    """Mean of the outermost pixels."""
    edges = (
        image.crop((0, 0, image.width, 1)),
        image.crop((0, image.height - 1, image.width, image.height)),
        image.crop((0, 0, 1, image.height)),
        image.crop((image.width - 1, 0, image.width, image.height)),
    )
    values = b"".join(edge.tobytes() for edge in edges)
    red, green, blue = (round(sum(values[band::3]) / len(values[band::3])) for band in range(3))
    return red, green, blue
