"""Figures of a model from its probabilities: accuracy with its interval, loss, calibration, confusion.

Pure NumPy: whoever has probabilities and labels gets the same figures, whichever engine made them.
"""

import math

import numpy as np
from numpy.typing import NDArray

from service.manifest import ClassMetrics, Metrics, Reading
from training.calibration import Calibration
from training.datasets import Labels

Floats = NDArray[np.floating]

CALIBRATION_BINS = 15  # Guo et al., On Calibration of Modern Neural Networks, 2017
_Z95 = 1.959963984540054  # 97.5 % point of the normal distribution
# A probability that underflowed to 0 has a large loss, not an infinite one.
_SMALLEST = np.finfo(np.float32).tiny


def wilson_interval(right: int, images: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson, 1927): honest close to 100 %, where right ± 2σ is not."""
    share = right / images
    scale = 1 + _Z95**2 / images
    centre = (share + _Z95**2 / (2 * images)) / scale
    half = _Z95 / scale * math.sqrt(share * (1 - share) / images + _Z95**2 / (4 * images**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def negative_log_likelihood(probabilities: Floats, labels: Labels) -> float:
    """Mean −log p(true label) in nats over [N,classes]."""
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(true, _SMALLEST)).mean())


def expected_calibration_error(probabilities: Floats, labels: Labels, bins: int = CALIBRATION_BINS) -> float:
    """Mean over images of |confidence − accuracy| of their bin, with equal-width bins of confidence."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(bin_of, weights=confidence - right, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def confusion_matrix(predicted: NDArray[np.integer], labels: Labels, classes: int) -> NDArray[np.int64]:
    """Counts, [true,predicted]."""
    cells = labels.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def per_class(confusion: NDArray[np.int64], names: tuple[str, ...]) -> list[ClassMetrics]:
    """Recall, precision and number of images of every class."""
    right, true, answered = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return [
        ClassMetrics(
            label=name,
            accuracy=float(right[k] / max(true[k], 1)),
            precision=float(right[k] / max(answered[k], 1)),
            count=int(true[k]),
        )
        for k, name in enumerate(names)
    ]


def metrics(
    probabilities: Floats,
    untempered: Floats,
    labels: Labels,
    names: tuple[str, ...],
    *,
    calibration: Calibration,
    validation_accuracy: float | None,
    readings: list[Reading],
    accuracy_tta: float | None = None,
) -> Metrics:
    """Everything the manifest says of the served probabilities [N,classes] on the whole test set.

    `untempered` are the same model's probabilities without the calibration.
    """
    predicted = probabilities.argmax(axis=1)
    right = int((predicted == labels).sum())
    confusion = confusion_matrix(predicted, labels, len(names))
    return Metrics(
        accuracy=right / len(labels),
        accuracy_interval=wilson_interval(right, len(labels)),
        errors=len(labels) - right,
        images=len(labels),
        nll=negative_log_likelihood(probabilities, labels),
        nll_before_temperature=negative_log_likelihood(untempered, labels),
        ece=expected_calibration_error(probabilities, labels),
        ece_before_temperature=expected_calibration_error(untempered, labels),
        temperature=calibration.temperature,
        temperature_exponent=calibration.exponent,
        validation_accuracy=validation_accuracy,
        per_class=per_class(confusion, names),
        confusion=confusion.tolist(),
        readings=readings,
        accuracy_tta=accuracy_tta,
    )
