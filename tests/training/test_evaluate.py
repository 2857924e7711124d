import math

import numpy as np
import pytest
from numpy.typing import NDArray

from service.manifest import ClassMetrics, Metrics, Reading
from training import evaluate
from training.calibration import Calibration


def test_wilson_interval_is_the_published_example() -> None:
    assert evaluate.wilson_interval(9_897, 10_000) == pytest.approx((0.98752, 0.99149), abs=2e-5)
    assert evaluate.wilson_interval(10, 10) == pytest.approx((0.72246, 1.0), abs=1e-5)


def test_an_interval_ends_at_none_and_at_all() -> None:
    assert evaluate.wilson_interval(0, 10) == pytest.approx((0.0, 0.27754), abs=1e-5)
    for images in range(1, 50):  # rounding alone brings some of them beyond
        assert evaluate.wilson_interval(0, images)[0] >= 0
        assert evaluate.wilson_interval(images, images)[1] <= 1


def test_calibrated_answers_have_no_calibration_error_and_sure_wrong_ones_all_of_it() -> None:
    labels = np.array([0, 0, 0, 1], np.uint8)
    three_in_four = np.full((4, 2), (0.75, 0.25))
    assert evaluate.expected_calibration_error(three_in_four, labels) == pytest.approx(0)
    sure = np.tile(np.array([0.0, 1.0]), (4, 1))
    assert evaluate.expected_calibration_error(sure, labels) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("right", "wrong", "error"),
    [
        # An edge of 15 bins, and of no one fewer or more, lies between the two.
        (0.66, 0.68, (0.34 + 0.68) / 2),
        # The last bin holds what is certain as well, and begins at 14/15.
        (0.95, 1.0, (1.0 - 0.05) / 2),
        (0.92, 0.95, (0.08 + 0.95) / 2),
    ],
)
def test_too_sure_and_too_unsure_make_up_for_each_other_within_a_bin_only(
    right: float, wrong: float, error: float
) -> None:
    probabilities = np.array([[right, 1 - right], [wrong, 1 - wrong]])
    labels = np.array([0, 1], np.uint8)
    assert evaluate.expected_calibration_error(probabilities, labels) == pytest.approx(error)


def test_loss_of_an_impossible_answer_is_large_but_finite() -> None:
    loss = evaluate.negative_log_likelihood(np.array([[0.0, 1.0]]), np.array([0], np.uint8))
    assert 80 < loss < 100


def test_confusion_counts_true_rows_and_predicted_columns() -> None:
    labels, predicted = np.array([0, 0, 1, 2], np.uint8), np.array([0, 2, 1, 1])
    confusion = evaluate.confusion_matrix(predicted, labels, 3)
    assert confusion.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
    zero, one, two = evaluate.per_class(confusion, ("a", "b", "c"))
    assert (zero.accuracy, zero.precision, zero.count) == (0.5, 1.0, 2)
    assert (one.accuracy, one.precision) == (1.0, 0.5)
    assert (two.accuracy, two.precision, two.count) == (0.0, 0.0, 1)


def sure(predicted: list[int], confidence: float) -> NDArray[np.float64]:
    """Probabilities [N,3] with so much on one class and the rest shared evenly."""
    return np.where(np.eye(3)[predicted] == 1, confidence, (1 - confidence) / 2)


def test_figures_are_those_done_by_hand() -> None:
    labels, predicted = np.array([0, 1, 1, 2], np.uint8), [0, 1, 0, 2]
    readings = [Reading(epoch=1, test_accuracy=0.5, validation_accuracy=0.6)]
    found = evaluate.metrics(
        sure(predicted, 0.5),
        sure(predicted, 0.8),
        labels,
        ("a", "b", "c"),
        calibration=Calibration(1.7, 0.3),
        validation_accuracy=0.9,
        readings=readings,
        accuracy_tta=0.95,
    )
    assert found.nll == pytest.approx(1.25 * math.log(2))  # three halves and a quarter
    assert found.nll_before_temperature == pytest.approx(-(3 * math.log(0.8) + math.log(0.1)) / 4)
    assert found.ece == pytest.approx(0.75 - 0.5)
    assert found.ece_before_temperature == pytest.approx(0.8 - 0.75)
    assert found == Metrics(
        accuracy=0.75,
        accuracy_interval=evaluate.wilson_interval(3, 4),
        errors=1,
        images=4,
        **found.model_dump(include={"nll", "nll_before_temperature", "ece", "ece_before_temperature"}),
        temperature=1.7,
        temperature_exponent=0.3,
        validation_accuracy=0.9,
        per_class=[
            ClassMetrics(label="a", accuracy=1.0, precision=0.5, count=1),
            ClassMetrics(label="b", accuracy=0.5, precision=1.0, count=2),
            ClassMetrics(label="c", accuracy=1.0, precision=1.0, count=1),
        ],
        confusion=[[1, 0, 0], [1, 1, 0], [0, 0, 1]],
        readings=readings,
        accuracy_tta=0.95,
    )
