"""Type for the pictures: DejaVu Sans, which Matplotlib carries, since Pillow's own font lacks → and ×."""

from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from PIL import ImageFont

MARGIN = 14  # px around every picture
TITLE = 14  # px, size of type
CAPTION = 11
SMALL = 10


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at `size` px."""
    spec = find_spec("matplotlib")  # finds it without importing it: 30 MB that serving has no use for
    if spec is None or spec.origin is None:
        raise FileNotFoundError("matplotlib, which carries the font, is not installed")
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name
    return ImageFont.truetype(BytesIO(path.read_bytes()), size)


def width(text: str, size: int, *, bold: bool = False) -> int:
    """px that one line takes."""
    return round(font(size, bold=bold).getlength(text) + 0.5)


def number(value: float, beside: float = 0.0) -> str:
    """A value as the pictures write it: three figures that matter, a real minus sign.

    What is nothing compared to the number it stands beside is 0.
    """
    size = abs(value) if abs(value) > 1e-4 * abs(beside) else 0.0
    text = f"{size:.2f}" if size == 0 or 0.1 <= size < 1000 else f"{size:.3g}"
    return f"−{text}" if value < 0 and size else text
