"""Training-only transforms, vectorised over a batch and run in worker threads beside the training step.

A batch is drawn from (seed, epoch, number of the batch) alone: threads and resuming change nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training import strokes
from training.datasets import Images

Rows = NDArray[np.integer]  # [N], indices of training images
Floats = NDArray[np.float32]


class Augmentation(Protocol):
    """Draws changed copies of the training images it was made with."""

    def __call__(self, rows: Rows, epoch: int, random: Generator) -> Images:
        """Images uint8 [N,H,W,C] for these rows."""


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """One epoch's batches in their order, made by threads ahead of the step that needs them."""

    def __init__(
        self,
        draw: Augmentation,
        targets: NDArray[Any],
        order: Rows,
        size: int,
        seed: int,
        epoch: int,
        *,
        weights: Floats | None = None,
    ) -> None:
        """`targets` and `weights` are of all images, `order` says which of them the epoch sees."""
        super().__init__(workers=2, use_multiprocessing=False, max_queue_size=6)
        self._draw, self._targets, self._order, self._size = draw, targets, order, size
        self._seed, self._epoch, self._weights = seed, epoch, weights

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._size)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], ...]:
        """Images, targets and, where there are any, weights."""
        rows = self._order[index * self._size : (index + 1) * self._size]
        random = np.random.default_rng([self._seed, self._epoch, index])
        batch = self._draw(rows, self._epoch, random), self._targets[rows]
        return batch if self._weights is None else (*batch, self._weights[rows])


@dataclass(frozen=True)
class Hands:
    """How far digits are changed. Angles in degrees, lengths in pixels; each draw is uniform up to these limits,
    but for `elastic`, a standard deviation."""

    rotation: float = 15.0
    shear: float = 0.2
    scale: float = 0.12
    shift: float = 2.0
    elastic: float = 0.8
    swelled: float = 0.2  # share of images whose strokes are widened or narrowed
    swell: tuple[float, float] = (-0.4, 0.9)  # on each side of a stroke
    redrawn: float = 0.2  # share of images that are drawn again with a round pen
    pen: tuple[float, float] = (1.2, 4.5)
    erased: float = 0.15  # share of images with a blank square


class Digits:
    """Other hands and other pens: affine and elastic distortion, stroke width, contrast, erasing.

    Every image is kept as three planes: its own pixels, the distance to the edge of its ink, and the distance
    to the middle of its strokes. Any of them is warped by the same one gather; a linear function of the result
    then is the image, the same strokes swollen or narrowed, or the same lines drawn with a round pen.
    """

    _PAD = 2  # empty pixels around the planes, so that what lies outside is paper
    _UNIT, _ZERO = 24.0, 96.0  # levels a pixel of distance, and the level of distance 0
    _BOX = 20.0  # the longest side of MNIST's digits, in pixels
    _KNOTS = 5  # of the elastic distortion, along each side

    def __init__(self, images: Images, hands: Hands) -> None:
        """`images` uint8 [N,28,28,1]."""
        self._hands = hands
        self._side = images.shape[1]
        self._planes, self._extent = self._prepare(images[..., 0])
        knots = np.linspace(0, self._side - 1, self._KNOTS)
        apart = (np.arange(self._side)[:, None] - knots) / (knots[1] - knots[0])
        spread = np.exp(-2 * apart**2)
        self._spread = (spread / spread.sum(1, keepdims=True)).astype(np.float32)

    def __call__(self, rows: Rows, epoch: int, random: Generator) -> Images:
        count, hands = len(rows), self._hands
        shares = [hands.swelled, hands.swelled + hands.redrawn]
        kind = np.searchsorted(shares, random.random(count), side="right")
        swell, pen = 2 * random.uniform(*hands.swell, count), random.uniform(*hands.pen, count)
        width = np.where(kind == 0, swell, pen).astype(np.float32)
        # The service scales every digit to MNIST's box, its strokes included: a thick pen makes it smaller.
        fitted = (self._BOX - width) / np.where(kind == 0, self._BOX, self._extent[rows])
        fitted = np.where(kind == 2, 1, np.clip(fitted, 0.7, 1.4))
        grown = fitted * (1 + random.uniform(-hands.scale, hands.scale, count))
        values = self._warped(rows + len(self._extent) * np.array((1, 2, 0))[kind], grown, random)
        slope, offset = self._rendering(kind, width, grown, random)
        drawn = np.clip(values * slope[:, None, None] + offset[:, None, None], 0, 255)
        # The service stretches the darkest ink to 255, and MNIST's makers did.
        drawn = (drawn * (255 / np.maximum(drawn.max((1, 2), keepdims=True), 32))).astype(np.uint8)
        self._erase(drawn, random)
        return np.asarray(drawn[..., None])

    def _prepare(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Floats]:
        """The planes [3·N,H+4,W+4], 255 on paper far from ink, and the longest side of each skeleton [N]."""
        edges, lines = [], []
        for part in np.array_split(images, max(1, len(images) // 2000)):
            masks = strokes.ink(part)
            edges.append(self._levels(strokes.edge_distance(masks)))
            lines.append(self._levels(strokes.line_distance(masks)))
        planes = np.concatenate([255 - images, *edges, *lines])
        near = np.concatenate(lines) <= self._ZERO + 0.75 * self._UNIT
        extent = np.maximum(near.any(1).sum(1), near.any(2).sum(1)).astype(np.float32)
        pad = (self._PAD, self._PAD)
        return np.pad(planes, ((0, 0), pad, pad), constant_values=255), np.maximum(extent, 8)

    def _levels(self, distance: Floats) -> NDArray[np.uint8]:
        return np.asarray(np.clip(np.rint(distance * self._UNIT + self._ZERO), 0, 255), np.uint8)

    def _rendering(
        self, kind: NDArray[np.integer], width: Floats, grown: NDArray[np.floating], random: Generator
    ) -> tuple[Floats, Floats]:
        """Slope and offset [N] that turn a warped plane's levels into ink, 0…255."""
        sharpness = random.uniform(0.75, 1.5, len(kind))
        steep = 255 * sharpness * grown / self._UNIT  # ink fades over about one pixel at an edge
        slope = np.where(kind == 2, -np.maximum(sharpness, 1), -steep)  # below 1, paper would turn grey
        middle = np.where(kind == 2, 127.5, self._ZERO + self._UNIT * width / 2 / grown)
        return slope.astype(np.float32), (127.5 - slope * middle).astype(np.float32)

    def _warped(self, planes: Rows, grown: NDArray[np.floating], random: Generator) -> Floats:
        """Each plane seen through its own affine and elastic distortion, float32 [N,H,W], by linear interpolation."""
        down, right = self._sources(grown, random)
        padded = self._side + 2 * self._PAD
        last = np.float32(padded - 1 - 1e-3)
        down, right = (np.clip(axis + self._PAD, 0, last) for axis in (down, right))
        top, left = down.astype(np.int32), right.astype(np.int32)
        below, beside = down - top, right - left
        start = planes.astype(np.int32)[:, None, None] * padded**2 + top * padded + left
        flat = self._planes.reshape(-1)
        upper = flat.take(start) * (1 - beside) + flat.take(start + 1) * beside
        lower = flat.take(start + padded) * (1 - beside) + flat.take(start + padded + 1) * beside
        return np.asarray(upper * (1 - below) + lower * below, np.float32)

    def _sources(self, grown: NDArray[np.floating], random: Generator) -> tuple[Floats, Floats]:
        """Where each pixel comes from: row and column, each float32 [N,H,W]."""
        count, hands = len(grown), self._hands
        limits = (math.radians(hands.rotation), hands.shear, hands.scale / 2)
        turn, slant, squeeze = (random.uniform(-limit, limit, count) for limit in limits)
        stretch = np.stack([1 + squeeze, 1 - squeeze]) / grown
        cosine, sine = np.cos(turn), np.sin(turn)
        matrix = np.stack([cosine, -sine, sine + slant * cosine, cosine - slant * sine], -1).reshape(-1, 2, 2)
        matrix = (matrix * stretch.T[:, :, None]).astype(np.float32)
        middle = np.float32((self._side - 1) / 2)
        axis = np.arange(self._side, dtype=np.float32) - middle
        shift = random.uniform(-hands.shift, hands.shift, (2, count, 1, 1)).astype(np.float32) + middle
        knots = random.normal(0, hands.elastic, (2, count, self._KNOTS, self._KNOTS)).astype(np.float32)
        bent = self._spread @ knots @ self._spread.T
        down, right = (
            row[:, 0, None, None] * axis[:, None] + row[:, 1, None, None] * axis
            for row in (matrix[:, 0], matrix[:, 1])
        )
        return down + shift[0] + bent[0], right + shift[1] + bent[1]

    def _erase(self, drawn: NDArray[np.uint8], random: Generator) -> None:
        """A square of 4 to 6 pixels goes blank in some of the images [N,H,W]."""
        count = len(drawn)
        squares = _squares(self._side, random.integers(4, 7, count), random)
        drawn[squares & (random.random(count) < self._hands.erased)[:, None, None]] = 0


class Photographs:
    """Alternating flip, shifted crops of the reflected surroundings, cutout (KellerJordan/cifar10-airbench).

    Alternating flip: a coin says which images the first epoch mirrors, and from then on every epoch the others.
    """

    def __init__(self, images: Images, *, shift: int = 2, cutout: int = 0) -> None:
        """`images` uint8 [N,H,W,C]; `shift` and the side of the square that `cutout` fills are in pixels."""
        self._cutout, self._shift, self._size = cutout, shift, images.shape[1]
        self._mean = images.mean((0, 1, 2)).round().astype(np.uint8)
        self._mirrored_first = np.random.default_rng(len(images)).random(len(images)) < 0.5
        padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="reflect")
        window = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:], axis=(1, 2, 3))
        self._windows = window[:, :, :, 0]  # [N,2·shift+1,2·shift+1,H,W,C], a view

    def __call__(self, rows: Rows, epoch: int, random: Generator) -> Images:
        down, right = random.integers(0, 2 * self._shift + 1, (2, len(rows)))
        images = self._windows[rows, down, right]
        mirrored = self._mirrored_first[rows] ^ (epoch % 2 == 0)
        images[mirrored] = images[mirrored, :, ::-1]
        if self._cutout:
            side = np.full(len(rows), self._cutout)
            images[_squares(self._size, side, random)] = self._mean
        return np.asarray(images, np.uint8)


class Unchanged:
    """Images as they are, or as they were drawn already."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def __call__(self, rows: Rows, epoch: int, random: Generator) -> Images:
        return self._images[rows]


class Smaller:
    """Another augmentation's images at a smaller size: cheaper epochs, and objects at another scale (Howard's
    progressive resizing, DAWNBench 2018)."""

    def __init__(self, draw: Augmentation, side: int) -> None:
        """`side` of the square images in pixels."""
        self._draw, self._side = draw, side

    def __call__(self, rows: Rows, epoch: int, random: Generator) -> Images:
        images = self._draw(rows, epoch, random)
        means = _area_means(images.shape[1], self._side)
        across = means @ images.astype(np.float32).reshape(*images.shape[:2], -1)
        down = across.reshape(len(images), self._side, images.shape[2], -1)
        smaller = np.einsum("oi,nhic->nhoc", means, down, optimize=True)
        return np.asarray(np.rint(smaller), np.uint8)


def _area_means(before: int, after: int) -> Floats:
    """[after,before]: the share of each pixel before in each pixel after."""
    edges = np.arange(after + 1) * before / after
    pixels = np.arange(before)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.maximum(overlap, 0) * after / before, np.float32)


def _squares(size: int, sides: NDArray[np.integer], random: Generator) -> NDArray[np.bool_]:
    """One square of each side somewhere whole in [size,size]: bool [N,size,size]."""
    at = np.arange(size)
    first = random.integers(0, size + 1 - sides, (2, len(sides)))[..., None]
    rows, columns = (at >= first) & (at < first + sides[:, None])
    return np.asarray(rows[:, :, None] & columns[:, None, :])


AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {
    "digits": lambda images, **options: Digits(images, Hands(**options)),
    "photographs": Photographs,
}
