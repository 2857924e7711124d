"""From probabilities to an answer: ranking, margin and entropy."""

from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MANY = 4  # rows from which NumPy is faster than plain Python; one row takes it three times as long
_TINY = np.finfo(np.float64).tiny
HESITATION = 0.2  # margin below which a second answer was about as likely


class Ranking(NamedTuple):
    """One image's classes, the likeliest first."""

    indices: list[int]
    probabilities: list[float]
    margin: float
    """p1 − p2: how far the best answer leads."""
    entropy: float
    """−Σ p·log p in nats: 0 when sure, log(classes) when clueless."""


def rank(probabilities: NDArray[np.float32], most: int | None = None) -> list[Ranking]:
    """float32 [N,C] with C ≥ 2 → one Ranking a row. Equal probabilities keep the order of the classes.

    `most` ≥ 2 is how many classes of each are wanted, if not all: margin and entropy are of all the same.
    """
    if len(probabilities) >= MANY:
        return _rank_many(probabilities, most)
    return [_rank(row, most) for row in probabilities.tolist()]


def _rank_many(probabilities: NDArray[np.float32], most: int | None) -> list[Ranking]:
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.minimum(np.take_along_axis(probabilities, order, axis=1), 1, dtype=np.float64)
    # 0·log of anything is 0. 0 − x, since −x of a sum that is 0 would read "−0".
    entropies = 0 - (ranked * np.log(np.maximum(ranked, _TINY))).sum(axis=1)
    margins = ranked[:, 0] - ranked[:, 1]
    wanted = order[:, :most].tolist(), ranked[:, :most].tolist()
    return list(map(Ranking, *wanted, margins.tolist(), entropies.tolist()))


def _rank(row: list[float], most: int | None) -> Ranking:
    indices = sorted(range(len(row)), key=row.__getitem__, reverse=True)
    ranked = [row[index] for index in indices]
    ranked[0] = min(ranked[0], 1.0)  # a softmax in float32 can end a rounding above 1
    entropy = 0 - sum(p * log(p) for p in ranked if p > 0)
    return Ranking(indices[:most], ranked[:most], ranked[0] - ranked[1], entropy)


def hesitation(ranking: Ranking, classes: list[str]) -> str | None:
    """The warning for an answer whose margin is small, or None."""
    if ranking.margin >= HESITATION:
        return None
    first, second = ranking.indices[:2]
    return f"hesitates between {classes[first]} and {classes[second]}"
