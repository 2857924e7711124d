"""A shipped net names digits in synthetic photographs about as well as it names them in their own form.

The bounds are far below what tests/benchmarks/wild_digits.py measures: they catch a step that broke.
"""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.images import PrepareOptions, prepare
from service.manifest import InputSpec
from tests.benchmarks.photographs import DISTORTIONS, Scene, photograph
from tests.benchmarks.wild_digits import ARTIFACTS, load_classifier
from tests.service.images.files import MAX_PIXELS, encoded

DIGIT = InputSpec(height=28, width=28, channels=1)
COUNT = 30
NAMES = (
    "position",
    "at the border",
    "hairline",
    "thick",
    "white on black",
    "coloured",
    "shaded",
    "ruled",
    "noisy",
)


def some_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    with np.load(ARTIFACTS / "datasets" / "mnist" / "test.npz") as arrays:
        return arrays["images"].reshape(-1, 28, 28)[:COUNT], arrays["labels"][:COUNT]


def share_right(files: list[bytes], labels: NDArray[np.int64]) -> float:
    images = [prepare(file, DIGIT, PrepareOptions(), max_pixels=MAX_PIXELS).image for file in files]
    return float((load_classifier("mnist-baseline")(np.stack(images)[..., 0]) == labels).mean())


@pytest.mark.parametrize("name", NAMES)
def test_digits_keep_their_labels(name: str) -> None:
    digits, labels = some_digits()
    random = np.random.default_rng(1)
    files = [photograph(digit, DISTORTIONS[name](random, Scene()), random) for digit in digits]
    assert share_right(files, labels) >= 0.85


@pytest.mark.parametrize(
    ("colour", "radius"), [((128, 128, 128), 40), ((66, 133, 244), 40), ((0, 0, 0), 100)]
)
def test_white_digits_on_cards_with_transparent_corners_keep_their_labels(
    colour: tuple[int, int, int], radius: int
) -> None:
    digits, labels = some_digits()
    files = []
    for digit in digits:
        card = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
        ImageDraw.Draw(card).rounded_rectangle((0, 0, 199, 199), radius, fill=colour)
        ink = Image.fromarray(digit).resize((140, 140), Image.Resampling.BICUBIC)
        card.paste("white", (30, 30), ink)
        files.append(encoded(card))
    assert share_right(files, labels) >= 0.95
