"""What is shipped under artifacts/ is what the first study claimed, and what its manifests say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.manifest import DATASET, DatasetManifest, Manifest, VotesFile, sha256_of
from tests.service.shipped import MODELS
from tests.training.test_architectures import STUDY
from training import evaluate
from training.published import latest_manifest

ARTIFACTS = Path(__file__).parents[2] / "artifacts"

# Test accuracy of a plain first run of the same nets; the shipped ones are within a point of it or above.
FIRST_RUN = {
    "mnist-baseline": 0.9897,
    "mnist-8-filters": 0.972,
    "mnist-stride-4": 0.921,
    "mnist-l2": 0.979,
    "cifar10-mnist-like": 0.612,
    "cifar10-batchnorm": 0.791,
    "cifar10-strided": 0.653,
}
READINGS = {("cifar10-batchnorm", 5): 0.755, ("cifar10-strided", 10): 0.589, ("cifar10-strided", 30): 0.635}


def shipped(name: str) -> Manifest:
    manifest = latest_manifest(ARTIFACTS, name)
    assert manifest is not None, f"artifacts/ has no {name}"
    return manifest


def deviations(name: str) -> dict[tuple[str, str], float]:
    """Standard deviation of every kernel, by (layer, weight)."""
    path = ARTIFACTS / "models" / name / shipped(name).version / "weights.json"
    layers: list[dict[str, Any]] = json.loads(path.read_text())["layers"]
    return {
        (layer["name"], weight["name"]): weight["standard_deviation"]
        for layer in layers
        for weight in layer["weights"]
        if weight["name"] == "kernel"
    }


@pytest.mark.parametrize("name", STUDY)
def test_shipped_model_has_the_studys_parameters_and_whole_files(name: str) -> None:
    manifest = shipped(name)
    assert (manifest.parameters, manifest.trainable_parameters) == STUDY[name]
    folder = ARTIFACTS / "models" / name / manifest.version
    for file, entry in manifest.files.items():
        assert sha256_of(folder / file) == entry.sha256, file


@pytest.mark.parametrize("name", MODELS)
def test_metrics_follow_from_the_shipped_probabilities(name: str) -> None:
    manifest = shipped(name)
    metrics, classes = manifest.metrics, tuple(manifest.classes)
    folder = ARTIFACTS / "models" / name / manifest.version
    probabilities = np.load(folder / "test_probabilities.npy")
    labels = np.load(ARTIFACTS / "datasets" / manifest.dataset / "test.npz")["labels"]
    predicted = probabilities.argmax(axis=1)
    right = int((predicted == labels).sum())
    confusion = evaluate.confusion_matrix(predicted, labels, len(classes))
    assert (metrics.images, metrics.errors, metrics.accuracy) == (10_000, 10_000 - right, right / 10_000)
    assert metrics.accuracy_interval == pytest.approx(evaluate.wilson_interval(right, 10_000))
    assert metrics.nll == pytest.approx(evaluate.negative_log_likelihood(probabilities, labels))
    assert metrics.ece == pytest.approx(evaluate.expected_calibration_error(probabilities, labels))
    assert metrics.confusion == confusion.tolist()
    assert metrics.per_class == evaluate.per_class(confusion, classes)
    assert manifest.parity.labels_changed_clear == 0


@pytest.mark.parametrize("name", FIRST_RUN)
def test_accuracy_is_within_a_point_of_the_first_run(name: str) -> None:
    assert shipped(name).metrics.accuracy >= FIRST_RUN[name] - 0.01


@pytest.mark.parametrize(("name", "epoch"), READINGS)
def test_readings_are_within_a_point_of_the_first_run(name: str, epoch: int) -> None:
    readings = {reading.epoch: reading.test_accuracy for reading in shipped(name).metrics.readings}
    assert readings[epoch] >= READINGS[name, epoch] - 0.01


def test_l2_brings_every_layers_weights_closer_to_0() -> None:
    plain, regularised = deviations("mnist-baseline"), deviations("mnist-l2")
    assert len(plain) == 4
    for kernel, deviation in plain.items():
        assert regularised[kernel] < deviation, kernel


def test_fewer_filters_or_a_larger_stride_cost_accuracy() -> None:
    baseline = shipped("mnist-baseline").metrics.accuracy_interval[0]
    assert shipped("mnist-8-filters").metrics.accuracy_interval[1] < baseline
    assert shipped("mnist-stride-4").metrics.accuracy_interval[1] < baseline


@pytest.mark.parametrize(("name", "asked", "disputed"), [("mnist", 100, 15), ("cifar10", 275, 37)])
def test_test_set_and_votes_are_whole(name: str, asked: int, disputed: int) -> None:
    folder = ARTIFACTS / "datasets" / name
    about = DatasetManifest.model_validate_json((folder / DATASET).read_text())
    for file, entry in about.files.items():
        assert sha256_of(folder / file) == entry.sha256
    votes = VotesFile.model_validate_json((folder / "votes.json").read_text()).votes
    assert (len(votes), sum(vote.disputed for vote in votes.values())) == (asked, disputed)
    assert {vote.given + vote.guessed + vote.neither + vote.both for vote in votes.values()} == {5}


def test_artifacts_stay_under_100_megabytes() -> None:
    assert sum(path.stat().st_size for path in ARTIFACTS.rglob("*") if path.is_file()) < 100e6
