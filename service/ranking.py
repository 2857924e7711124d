"""From probabilities to an answer: ranking, margin and entropy. Pure NumPy, whole batches at once."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HESITATION = 0.2  # margin below which a second answer was about as likely


class Ranking(NamedTuple):
    """One image's classes, the likeliest first."""

    indices: list[int]
    probabilities: list[float]
    margin: float
    """p1 − p2: how far the best answer leads."""
    entropy: float
    """−Σ p·log p in nats: 0 when sure, log(classes) when clueless."""


def rank(probabilities: NDArray[np.float32]) -> list[Ranking]:
    """float32 [N,C] with C ≥ 2 → one Ranking a row. Equal probabilities keep the order of the classes."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    # A softmax in float32 can end a rounding above 1.
    ranked = np.minimum(np.take_along_axis(probabilities, order, axis=1), 1)
    # log(0) is kept finite by the floor; 0 · log(floor) is then 0, as the limit is.
    logs = np.log(np.maximum(ranked, np.finfo(np.float32).tiny))
    entropies = -np.einsum("nc,nc->n", ranked, logs)
    margins = ranked[:, 0] - ranked[:, 1]
    return [
        Ranking(*row)
        for row in zip(order.tolist(), ranked.tolist(), margins.tolist(), entropies.tolist(), strict=True)
    ]


def hesitation(ranking: Ranking, classes: list[str]) -> str | None:
    """The warning for an answer whose margin is small, or None."""
    if ranking.margin >= HESITATION:
        return None
    first, second = ranking.indices[:2]
    return f"hesitates between {classes[first]} and {classes[second]}"
