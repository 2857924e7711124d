"""Which ink is the digit: connected blobs, less specks, frames and other digits far away."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_GRID = 100  # cells along the longer side; blobs nearer than a cell are one
_SPECK = 0.03  # of the largest blob's mass: no stroke of a digit is so small
_NEAR = 0.5  # of the longer side of the largest blob's box: detached strokes lie within it
_NEAR_BORDER = 0.1  # the same for a blob that touches the border
_OTHER = 0.25  # of the largest blob's mass: a blob far away with as much is another digit
_INSIDE = 0.2  # of a blob that touches the border: one with as much that does not is rather the digit
_MARGIN = 0.04  # of the shorter side: a blob that keeps within it of the border is a frame or a shadow
_IN_MARGIN = 0.8  # of such a blob's cells
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Blob:
    """One connected piece of ink, in cells: box as top, left, bottom, right; mass is its ink,
    margin the share of its cells that are next to the picture's border."""

    label: int
    box: tuple[int, int, int, int]
    mass: float
    margin: float

    def gap(self, other: "Blob") -> int:
        """Cells between two boxes; 0 where they meet."""
        (top, left, bottom, right), (t, l, b, r) = self.box, other.box  # noqa: E741
        return max(t - bottom, top - b, l - right, left - r, 0)

    @property
    def length(self) -> int:
        top, left, bottom, right = self.box
        return max(bottom - top, right - left)


def digit_of(strong: NDArray[np.bool_], ink: NDArray[np.float32]) -> tuple[NDArray[np.bool_], int]:
    """Sure ink, bool [h,w], and all ink, float32 [h,w] → what belongs to the digit, bool [h,w], and how many
    other blobs there are that may be digits too."""
    cell = -(-max(strong.shape) // _GRID)
    coarse = _pooled(strong, cell)
    labels = label(coarse)
    blobs = _blobs(labels, _pooled_sum(ink * strong, cell))
    kept, others = _chosen(blobs, labels.shape)
    fine = np.isin(labels, [blob.label for blob in kept]).repeat(cell, 0).repeat(cell, 1)
    return fine[: strong.shape[0], : strong.shape[1]], others


def _chosen(blobs: list[Blob], shape: tuple[int, ...]) -> tuple[list[Blob], int]:
    blobs = [blob for blob in blobs if blob.margin < _IN_MARGIN] or blobs
    largest = max(blobs, key=lambda blob: blob.mass)
    if _touches(largest, shape):
        inner = [b for b in blobs if not _touches(b, shape) and b.mass >= _INSIDE * largest.mass]
        largest = max(inner, key=lambda blob: blob.mass, default=largest)
    near = [b for b in blobs if b is largest or _belongs(b, largest, shape)]
    others = [b for b in blobs if b not in near and b.mass >= _OTHER * largest.mass]
    return near, len(others)


def _belongs(blob: Blob, largest: Blob, shape: tuple[int, ...]) -> bool:
    """Whether a blob is a detached stroke of the largest one's digit."""
    if not _SPECK * largest.mass <= blob.mass <= largest.mass:
        return False
    reach = _NEAR_BORDER if _touches(blob, shape) else _NEAR
    return blob.gap(largest) <= max(1, reach * largest.length)


def _touches(blob: Blob, shape: tuple[int, ...]) -> bool:
    top, left, bottom, right = blob.box
    return top == 0 or left == 0 or bottom == shape[0] or right == shape[1]


def _pooled(mask: NDArray[np.bool_], cell: int) -> NDArray[np.bool_]:
    return np.asarray(_blocks(mask, cell).any((1, 3)))


def _pooled_sum(ink: NDArray[np.float32], cell: int) -> NDArray[np.float32]:
    pooled: NDArray[np.float32] = _blocks(ink, cell).sum((1, 3), dtype=np.float32)
    return pooled


def _blocks(array: NDArray[_T], cell: int) -> NDArray[_T]:
    height, width = (-(-side // cell) for side in array.shape)
    padded = np.pad(array, ((0, height * cell - array.shape[0]), (0, width * cell - array.shape[1])))
    return padded.reshape(height, cell, width, cell)


def _blobs(labels: NDArray[np.int32], mass: NDArray[np.float32]) -> list[Blob]:
    rows, columns = np.nonzero(labels)
    names, which = np.unique(labels[rows, columns], return_inverse=True)
    masses = np.bincount(which, mass[rows, columns])
    margins = np.bincount(which, _in_margin(labels.shape)[rows, columns]) / np.bincount(which)
    bounds = []
    for places in (rows, columns):
        low, high = np.full(len(names), np.iinfo(np.int64).max), np.zeros(len(names), np.int64)
        np.minimum.at(low, which, places)
        np.maximum.at(high, which, places + 1)
        bounds += [low, high]
    return [
        Blob(int(name), (int(top), int(left), int(bottom), int(right)), float(m), float(margin))
        for name, m, margin, top, bottom, left, right in zip(names, masses, margins, *bounds, strict=True)
    ]


def _in_margin(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    depth = max(1, round(_MARGIN * min(shape)))
    margin = np.ones(shape, bool)
    margin[depth:-depth, depth:-depth] = False
    return margin


def label(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Connected components, eight neighbours: bool [h,w] → int32 [h,w], 0 where there is none."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    roots = _joined(rows.tolist(), starts.tolist(), ends.tolist())
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = np.repeat(np.array(roots, np.int32) + 1, ends - starts)
    return labels


def _joined(rows: list[int], starts: list[int], ends: list[int]) -> list[int]:
    """Runs in row order → each one's root: runs of neighbouring rows that touch share it (union-find)."""
    parents = list(range(len(rows)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    above = 0
    for run, row in enumerate(rows):
        while rows[above] < row - 1 or (rows[above] == row - 1 and ends[above] < starts[run]):
            above += 1
        other = above
        while rows[other] == row - 1 and starts[other] <= ends[run]:
            parents[root(run)] = root(other)
            other += 1
    return [root(run) for run in range(len(rows))]
