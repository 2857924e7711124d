"""Any picture of one digit → MNIST's own form: white ink in a 20 × 20 box, placed in 28 × 28 by its mass."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import BlankImage
from service.images.decode import pixels

Invert = Literal["auto", "yes", "no"]


@dataclass(frozen=True, slots=True)
class Digit:
    """uint8 [28,28] in MNIST's own form, and how it came to be."""

    image: NDArray[np.uint8]
    steps: list[str] = field(default_factory=list)
    inverted: bool = False
    box: tuple[int, int, int, int] | None = None
    ink_share: float | None = None
    warnings: list[str] = field(default_factory=list)


def to_digit(image: Image.Image, invert: Invert = "auto") -> Digit:
    """A picture of mode "L" or "RGB" → MNIST's own form. Raises BlankImage."""
    grey = pixels(image.convert("L"))
    ground = float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
    if grey.shape == (28, 28) and ground == 0 and invert != "yes":
        return Digit(grey, ["28 × 28 on black: untouched"], ink_share=float((grey > 127).mean()))
    excess = grey - ground
    inverted = invert == "yes" or (invert == "auto" and -excess.min() > excess.max())
    ink = np.maximum(-excess if inverted else excess, 0)
    contrast = float(ink.max()) / 255
    if contrast < 0.1:
        raise BlankImage(
            f"nothing stands out from the ground: the contrast is {contrast:.3f} of 1; 0.1 is needed"
        )
    rows, columns = np.nonzero(ink >= ink.max() / 2)
    box = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    scaled = np.clip(ink * (255 / ink.max()), 0, 255).astype(np.uint8)
    placed = _place(Image.fromarray(scaled).crop(box))
    return Digit(
        placed, ["ground subtracted", "placed as MNIST does"], inverted, box, float((placed > 127).mean())
    )


def _place(digit: Image.Image) -> NDArray[np.uint8]:
    scale = 20 / max(digit.size)
    small = pixels(digit.resize([max(1, round(side * scale)) for side in digit.size], Image.Resampling.BOX))
    total = small.sum()
    top = int(np.floor(14.5 - (small.sum(1) * np.arange(small.shape[0])).sum() / total))
    left = int(np.floor(14.5 - (small.sum(0) * np.arange(small.shape[1])).sum() / total))
    placed = np.zeros((28, 28), np.uint8)
    top, left = min(max(top, 0), 28 - small.shape[0]), min(max(left, 0), 28 - small.shape[1])
    placed[top : top + small.shape[0], left : left + small.shape[1]] = small
    return placed
