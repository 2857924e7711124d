from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from training.augmentation import Batches, Digits, Hands, Photographs, Smaller, Unchanged

STILL = Hands(rotation=0, shear=0, scale=0, shift=0, elastic=0, swelled=0, redrawn=0, erased=0)
ROWS = np.arange(12)


def drawn_digits(count: int = 12) -> NDArray[np.uint8]:
    """Rings and crosses of MNIST's size, uint8 [N,28,28,1]."""
    down, right = np.indices((28, 28)) - 13.5
    ring = np.abs(np.hypot(down * 0.8, right) - 7)
    cross = np.minimum(np.abs(down - right), np.abs(down + right)) / np.sqrt(2) + 99 * (
        np.hypot(down, right) > 11
    )
    planes = [np.clip(255 * (2 - distance), 0, 255) for distance in (ring, cross)]
    return np.stack([planes[k % 2] for k in range(count)]).astype(np.uint8)[..., None]


def drawn(hands: Hands, seed: int = 0) -> NDArray[np.uint8]:
    return Digits(drawn_digits(), hands)(ROWS, 1, np.random.default_rng(seed))


def ink_share(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.asarray((images > 127).mean((1, 2, 3)))


def test_without_any_distortion_the_ink_stays_where_it_is() -> None:
    originals = drawn_digits()
    changed = (drawn(STILL) > 127) != (originals > 127)
    assert changed.mean() < 0.005


def test_pen_width_decides_how_much_ink_there_is() -> None:
    shares = [ink_share(drawn(replace(STILL, redrawn=1, pen=(width, width)))) for width in (1.2, 2.5, 4.5)]
    assert (shares[0] < 0.8 * shares[1]).all()
    assert (shares[1] < 0.8 * shares[2]).all()


def test_swelling_widens_and_narrows_strokes() -> None:
    thin, own, thick = (
        ink_share(drawn(replace(STILL, swelled=1, swell=(side, side)))) for side in (-0.5, 0.0, 0.9)
    )
    assert (thin < own).all()
    assert (own < thick).all()


def test_paper_stays_empty_and_ink_reaches_white() -> None:
    images = drawn(Hands(erased=0), seed=3)
    border = np.concatenate([images[:, 0].ravel(), images[:, -1].ravel()])
    assert np.median(border) == 0
    assert images.max((1, 2, 3)).min() >= 250


def test_shift_moves_the_ink() -> None:
    moved = drawn(replace(STILL, shift=3.0), seed=1)
    centres = np.array([np.argwhere(image[..., 0] > 127).mean(0) for image in moved])
    assert np.ptp(centres, axis=0).min() > 2


def test_rotation_turns_digits_and_changes_nothing_else() -> None:
    still, turned = (
        [np.cov(np.argwhere(image[..., 0] > 127).T) for image in drawn(hands)[::2]]
        for hands in (STILL, replace(STILL, rotation=30))
    )
    for before, after in zip(still, turned, strict=True):  # of rings that are longer than wide
        assert np.linalg.eigvalsh(after) == pytest.approx(np.linalg.eigvalsh(before), rel=0.1)
    angles = [np.degrees(np.arctan2(2 * c[0, 1], c[0, 0] - c[1, 1]) / 2) for c in turned]
    assert 15 < np.abs(angles).max() < 32
    assert np.ptp(angles) > 30


def test_erasing_removes_ink_only() -> None:
    erased = drawn(replace(STILL, erased=1.0)).astype(int)
    assert (erased <= drawn(STILL)).all()
    assert (erased.sum((1, 2, 3)) < drawn(STILL).astype(int).sum((1, 2, 3))).any()


@pytest.fixture
def photographs() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


def test_every_image_is_mirrored_in_every_second_epoch(photographs: NDArray[np.uint8]) -> None:
    draw = Photographs(photographs, shift=0)
    first, second, third = (draw(ROWS, epoch, np.random.default_rng(epoch)) for epoch in (1, 2, 3))
    assert np.array_equal(first, second[:, :, ::-1])
    assert np.array_equal(first, third)
    mirrored = [
        np.array_equal(image, original[:, ::-1]) for image, original in zip(first, photographs, strict=True)
    ]
    assert 0 < sum(mirrored) < len(mirrored)


def test_crops_are_windows_of_the_reflected_image(photographs: NDArray[np.uint8]) -> None:
    crops = Photographs(photographs, shift=2)(ROWS, 1, np.random.default_rng(0))
    padded = np.pad(photographs, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    for crop, surroundings in zip(crops, padded, strict=True):
        windows = [surroundings[y : y + 32, x : x + 32] for y in range(5) for x in range(5)]
        assert any(np.array_equal(crop, w) or np.array_equal(crop[:, ::-1], w) for w in windows)


def test_cutout_fills_one_square_of_its_size(photographs: NDArray[np.uint8]) -> None:
    whole, cut = (
        Photographs(photographs, shift=0, cutout=side)(ROWS, 1, np.random.default_rng(0)) for side in (0, 12)
    )
    filled = (whole != cut).any(-1)
    for image in filled:
        rows, columns = np.nonzero(image)
        assert np.ptp(rows) == np.ptp(columns) == 11


def test_smaller_images_are_means_over_the_area_of_each_pixel() -> None:
    image = np.array([[4, 30, 60], [90, 120, 150], [180, 210, 240]], np.uint8)
    images = np.stack([image, image.T], -1)[None]
    smaller = Smaller(Unchanged(images), 2)(np.array([0]), 1, np.random.default_rng(0))
    # Two thirds of an outer row and a third of the middle one, and the same across.
    assert smaller[0, ..., 0].tolist() == [[42, 80], [160, 200]]  # 41.8, rounded
    assert smaller[0, ..., 1].tolist() == [[42, 160], [80, 200]]
    assert np.array_equal(Smaller(Unchanged(images), 3)(np.array([0]), 1, np.random.default_rng(0)), images)


def test_originals_are_never_written_to(photographs: NDArray[np.uint8]) -> None:
    before, draw = photographs.copy(), Photographs(photographs, shift=0, cutout=8)
    draw(ROWS, 2, np.random.default_rng(0))
    draw(ROWS, 1, np.random.default_rng(0))
    assert np.array_equal(photographs, before)


def test_batches_depend_on_seed_epoch_and_number_alone(photographs: NDArray[np.uint8]) -> None:
    def batches(seed: int, epoch: int) -> Batches:
        return Batches(Photographs(photographs), np.arange(12), ROWS[::-1], 5, seed, epoch)

    one, again = batches(1, 2), batches(1, 2)
    assert len(one) == 3
    last_first = [again[k] for k in (2, 1, 0)][::-1]
    for (images, targets), (others, same) in zip((one[k] for k in range(3)), last_first, strict=True):
        assert np.array_equal(images, others)
        assert np.array_equal(targets, same)
    assert not np.array_equal(one[0][0], batches(1, 4)[0][0])
    assert not np.array_equal(one[0][0], batches(2, 2)[0][0])
    assert [int(t) for k in range(3) for t in one[k][1]] == list(range(11, -1, -1))


def test_weights_are_those_of_the_images(photographs: NDArray[np.uint8]) -> None:
    weights = np.linspace(0, 5.5, 12, dtype=np.float32)
    batches = Batches(Unchanged(photographs), np.arange(12), ROWS[::-1], 5, 1, 1, weights=weights)
    images, targets, beside = batches[1]
    assert targets.tolist() == [6, 5, 4, 3, 2]
    assert np.array_equal(images, photographs[targets])
    assert beside.tolist() == [3.0, 2.5, 2.0, 1.5, 1.0]
