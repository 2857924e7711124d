import numpy as np
import pytest
from numpy.typing import NDArray

from training import calibration
from training.calibration import Calibration


def drawn(probabilities: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A label for every row, as likely as the row says."""
    passed = probabilities.cumsum(axis=1) < rng.random((len(probabilities), 1))
    labels: NDArray[np.uint8] = passed.sum(axis=1).clip(max=probabilities.shape[1] - 1).astype(np.uint8)
    return labels


@pytest.fixture(scope="module")
def logits() -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(20_000, 10)) * rng.uniform(0.5, 4, size=(20_000, 1))


def test_a_temperature_undoes_a_scaling_of_the_logits(logits: NDArray[np.float64]) -> None:
    labels = drawn(Calibration(1.0).probabilities(logits), np.random.default_rng(1))
    found = calibration.fit("temperature", logits * 3, labels)
    assert found.temperature == pytest.approx(3, rel=0.05)
    assert found.exponent == 0


def test_temperature_and_exponent_are_those_that_the_labels_were_drawn_by(
    logits: NDArray[np.float64],
) -> None:
    true = Calibration(1.5, 0.3)
    labels = drawn(true.probabilities(logits), np.random.default_rng(1))
    found = calibration.fit("entropy", logits, labels)
    assert (found.temperature, found.exponent) == pytest.approx((1.5, 0.3), rel=0.1)
    assert found.loss(logits, labels) < calibration.fit("temperature", logits, labels).loss(logits, labels)


@pytest.mark.parametrize("exponent", [0.0, 0.5])
def test_no_label_changes_however_sure_the_answer(exponent: float) -> None:
    logits = np.array([[1e4, 0.0, -1e4], [0.1, 0.1001, 0.0], [0.0, 0.0, 0.0]], np.float32)
    probabilities = Calibration(1.2, exponent).probabilities(logits)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert probabilities.argmax(axis=1).tolist() == [0, 1, 0]


def test_entropy_is_1_where_nothing_is_known_and_a_little_where_all_is() -> None:
    shares = calibration.relative_entropy(np.array([[2.0, 2.0], [1e4, 0.0]]))
    assert shares.ravel().tolist() == pytest.approx([1.0, calibration.LEAST_ENTROPY])
