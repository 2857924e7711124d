import numpy as np
import pytest

from training import evaluate


def test_wilson_interval_is_the_published_example() -> None:
    assert evaluate.wilson_interval(9_897, 10_000) == pytest.approx((0.98752, 0.99149), abs=2e-5)
    assert evaluate.wilson_interval(10, 10) == pytest.approx((0.72246, 1.0), abs=1e-5)


def test_calibrated_answers_have_no_calibration_error_and_sure_wrong_ones_all_of_it() -> None:
    labels = np.array([0, 0, 0, 1], np.uint8)
    three_in_four = np.full((4, 2), (0.75, 0.25))
    assert evaluate.expected_calibration_error(three_in_four, labels) == pytest.approx(0)
    sure = np.tile(np.array([0.0, 1.0]), (4, 1))
    assert evaluate.expected_calibration_error(sure, labels) == pytest.approx(0.75)


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
