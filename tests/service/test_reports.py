"""service.reports: what is made of a version's files, with numbers a person can check."""

import numpy as np
import pytest

from service.errors import UnknownLayer
from service.manifest import MANIFEST, Manifest
from service.reports import CALIBRATION_BINS, MOST_CONFUSED, Report, most_confused, reliability
from tests.service.shipped import ARTIFACTS, latest


def test_the_surest_answers_are_in_the_last_bin_and_bounds_in_the_upper_of_two() -> None:
    best = np.array([1.0, 0.95, 0.6, 0.6, 0.5], np.float32)
    probabilities = np.stack([best, 1 - best], axis=1)
    bins = reliability(probabilities, np.array([0, 1, 0, 1, 0], np.uint8))
    assert [one.count for one in bins] == [0] * 7 + [1, 0, 2, 0, 0, 0, 0, 2]
    assert [(bins[0].low, bins[0].high), (bins[-1].low, bins[-1].high)] == [(0, 1 / 15), (14 / 15, 1)]
    assert (bins[9].accuracy, bins[-1].accuracy) == (0.5, 0.5)
    assert bins[9].confidence == pytest.approx(0.6)
    assert bins[-1].confidence == pytest.approx(0.975)
    assert (bins[0].accuracy, bins[0].confidence) == (None, None)
    assert len(bins) == CALIBRATION_BINS


def test_the_pairs_that_are_confused_most_come_first_and_no_more_than_a_few() -> None:
    confusion = [[100, 3, 1], [0, 100, 5], [2, 0, 100]]
    named = [(pair.true, pair.predicted, pair.count) for pair in most_confused(confusion)]
    assert named == [(1, 2, 5), (0, 1, 3), (2, 0, 2), (0, 2, 1)]
    assert len(most_confused([[1] * 5] * 5)) == MOST_CONFUSED


def test_one_layers_weights_are_its_own_and_a_layer_without_has_none() -> None:
    manifest = Manifest.model_validate_json((latest("mnist-l2") / MANIFEST).read_bytes())
    report = Report(ARTIFACTS, manifest)
    assert [layer["name"] for layer in report.weights("dense")] == ["dense"]
    assert [layer["name"] for layer in report.weights()] == ["conv2d", "conv2d_1", "dense", "dense_1"]
    with pytest.raises(
        UnknownLayer, match=r"'flatten' with weights; those with weights are conv2d, conv2d_1,"
    ):
        report.weights("flatten")
