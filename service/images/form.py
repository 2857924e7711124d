"""MNIST's own form: ink white on black, its longer side 20 pixels, its centre of mass at the middle of 28 × 28.

What a picture is recognised by, and made into. The making follows QMNIST's reconstruction of MNIST's
preparation (Yadav and Bottou, Cold Case: The Lost MNIST Digits, 2019, procedure "xnist").
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 28
BOX = 20
INK = 127  # a pixel above it counts as ink
_EDGE = 32  # what bounds the ink's box: above the ringing of JPEG, below any stroke
_SHORTEST = 18  # px; of the longer side of the box at that level, over MNIST's 70,000 images
_MIDDLE = 14  # px from 0
_OFF, _OF = 11, 20  # the centre of mass is within 11 twentieths of a px of it; theirs are in 13.48…14.5

_ROWS, _COLUMNS = np.indices((SIDE, SIDE)).reshape(2, -1)
_RING = np.flatnonzero((_ROWS % (SIDE - 1) == 0) | (_COLUMNS % (SIDE - 1) == 0))
_ON_RING = np.isin(np.arange(SIDE * SIDE), _RING)
_OFFSETS = (_ROWS - _MIDDLE, _COLUMNS - _MIDDLE)
_MOMENTS = np.stack([np.ones(SIDE * SIDE), *_OFFSETS, _ON_RING], axis=1).astype(np.float32)
_ONES = np.ones(SIDE, np.float32)
_HALF_RING = len(_RING) // 2


def has_form(image: NDArray[np.uint8]) -> bool:
    """Whether uint8 [28,28] is in MNIST's own form, as all 70,000 images of MNIST are."""
    flat = image.reshape(-1)
    mass, row, column, border = (flat @ _MOMENTS).tolist()
    most = mass * _OFF
    if not (mass and -most <= row * _OF <= most and -most <= column * _OF <= most):
        return False
    if border and np.count_nonzero(flat[_RING]) > _HALF_RING:  # the border's median is above 0
        return False
    ink = image >= _EDGE
    return _SHORTEST <= max(_rows_spanned(ink), _rows_spanned(ink.T)) <= BOX


def _rows_spanned(ink: NDArray[np.bool_]) -> int:
    """Rows from the first to the last with ink; 1 without any."""
    marks = ink.tobytes()
    return marks.rfind(1) // SIDE - marks.find(1) // SIDE + 1


def have_form(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The same of many, uint8 [N,28,28] → bool [N], in a quarter of the time."""
    flat = images.reshape(len(images), -1)
    # Whole numbers below 2²⁴, and what is compared too wherever it is close: exact in float32, and so the same of each.
    mass, row, column, border = (flat.astype(np.float32) @ _MOMENTS).T
    formed = (mass > 0) & (np.maximum(np.abs(row), np.abs(column)) * _OF <= mass * _OFF)
    bordered = np.flatnonzero(border)
    if len(bordered):
        formed[bordered] &= np.count_nonzero(flat[bordered][:, _RING], axis=1) <= _HALF_RING
    ink = (images >= _EDGE).astype(np.float32)  # products count it in a quarter of the time that `any` takes
    longest = np.maximum(_spanned(ink @ _ONES > 0), _spanned(_ONES @ ink > 0))
    return np.asarray(formed & (longest >= _SHORTEST) & (longest <= BOX))


def _spanned(marks: NDArray[np.bool_]) -> NDArray[np.integer]:
    """bool [N,28] → from the first to the last mark; 28 without any, which is too long as well."""
    return np.asarray(SIDE - marks.argmax(axis=1) - marks[:, ::-1].argmax(axis=1))


def place(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Ink cropped to its box, uint8 [h,w] → uint8 [28,28] in MNIST's own form."""
    height, width = ink.shape
    side = max(height, width)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = ink
    while square.shape[0] < BOX:
        square = square.repeat(2, 0).repeat(2, 1)
    small = np.asarray(Image.fromarray(square).resize((BOX, BOX), Image.Resampling.BOX), np.float64)
    small *= 255 / max(small.max(), 1)
    placed = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (_offset(small.sum(axis)) for axis in (1, 0))
    placed[top : top + BOX, left : left + BOX] = (small + 0.5).astype(np.uint8)
    return placed


def _offset(profile: NDArray[np.float64]) -> int:
    """Where the 20 pixels start so that their centre of mass is nearest the middle."""
    centre = (np.arange(BOX) + 0.5) @ profile / profile.sum()
    return int(np.clip(np.floor(SIDE / 2 + 1 - centre), 0, SIDE - BOX))


def ink_share(image: NDArray[np.uint8]) -> float:
    """Share of pixels that are ink."""
    # Quicker than NumPy's own count, which is Python's until it gets to it.
    return (image > INK).tobytes().count(1) / image.size


def ink_shares(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The same of many, uint8 [N,28,28] → float64 [N]."""
    # Eight pixels are a word, in each byte of which up to 98 are counted: in a third of the time that `mean` takes.
    words = (images > INK).reshape(len(images), -1).view(np.uint64).sum(axis=1)
    return np.asarray(words.view(np.uint8).reshape(-1, 8).sum(axis=1) / (SIDE * SIDE))
