"""Calibration: what logits are divided by so that answers given with 90 % are right nine times in ten.

It is fitted on images held out, and changes no label. Pure NumPy; `training.graphs` has the same as layers.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import entr, log_softmax

from training.datasets import Labels

Floats = NDArray[np.floating]

TEMPERATURE = "temperature"  # one for all images: Guo et al., On Calibration of Modern Neural Networks, 2017
# A power of the answer's entropy besides: Balanya et al., Adaptive Temperature Scaling for Robust Calibration of Deep
# Neural Networks, 2022. Nets that learnt smoothed labels hesitate too little where they hesitate at all.
ENTROPY = "entropy"
METHODS = (TEMPERATURE, ENTROPY)

# Share of the greatest; below it float32 has no digits left, and images are all the same.
LEAST_ENTROPY = 1e-4
_WIDEST = math.log(20.0)  # temperatures are sought from a twentieth to this


@dataclass(frozen=True)
class Calibration:
    """Logits are divided by temperature × (the answer's entropy as a share of the greatest) ** exponent."""

    temperature: float
    exponent: float = 0.0

    def probabilities(self, logits: Floats) -> NDArray[np.float32]:
        """Scores [N,classes] → calibrated probabilities [N,classes]."""
        return np.exp(self._log_probabilities(logits)).astype(np.float32)

    def loss(self, logits: Floats, labels: Labels) -> float:
        """Mean −log p(true label), nats."""
        return float(-self._log_probabilities(logits)[np.arange(len(labels)), labels].mean())

    def _log_probabilities(self, logits: Floats) -> NDArray[np.float64]:
        logits = logits.astype(np.float64)
        divisor = self.temperature * relative_entropy(logits) ** self.exponent
        scores: NDArray[np.float64] = log_softmax(logits / divisor, axis=1)
        return scores


def relative_entropy(logits: Floats) -> NDArray[np.float64]:
    """Entropy of softmax(logits) [N,classes] as a share of the greatest, log(classes): [N,1], never below
    LEAST_ENTROPY."""
    entropy = entr(np.exp(log_softmax(logits, axis=1))).sum(axis=1, keepdims=True)
    share: NDArray[np.float64] = np.maximum(entropy / math.log(logits.shape[1]), LEAST_ENTROPY)
    return share


def fit(method: str, logits: Floats, labels: Labels) -> Calibration:
    """The calibration by which logits [N,classes] of these images have the least loss.

    Raises ValueError when `method` is none of METHODS.
    """
    if method not in METHODS:
        raise ValueError(f"there is no calibration {method!r}; there are {', '.join(METHODS)}")

    def loss(log_temperature: float, exponent: float = 0.0) -> float:
        return Calibration(math.exp(log_temperature), exponent).loss(logits, labels)

    plain = float(minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded").x)
    exponent = 0.0
    if method == ENTROPY:
        found = minimize(lambda both: loss(*both), (plain, 0.0), method="Nelder-Mead")
        plain, exponent = map(float, found.x)
    return Calibration(round(math.exp(plain), 4), round(exponent, 4))
