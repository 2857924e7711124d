"""A shipped net names digits in synthetic photographs about as well as it names them in their own form.

The bounds are far below what tests/benchmarks/wild_digits.py measures: they catch a step that broke.
"""

import numpy as np
import pytest

from service.images import PrepareOptions, prepare
from service.manifest import InputSpec
from tests.benchmarks.photographs import DISTORTIONS, Scene, photograph
from tests.benchmarks.wild_digits import ARTIFACTS, load_classifier
from tests.service.images.files import MAX_PIXELS

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


@pytest.mark.parametrize("name", NAMES)
def test_digits_keep_their_labels(name: str) -> None:
    with np.load(ARTIFACTS / "datasets" / "mnist" / "test.npz") as arrays:
        digits, labels = arrays["images"].reshape(-1, 28, 28)[:COUNT], arrays["labels"][:COUNT]
    random = np.random.default_rng(1)
    files = [photograph(digit, DISTORTIONS[name](random, Scene()), random) for digit in digits]
    images = [prepare(file, DIGIT, PrepareOptions(), max_pixels=MAX_PIXELS).image for file in files]
    right = load_classifier("mnist-baseline")(np.stack(images)[..., 0]) == labels
    assert right.mean() >= 0.85
