"""A net of two shipped ones: its answers are the mean of theirs, and its files are theirs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.engines import open_graph
from service.manifest import FEATURE_MAPS, MANIFEST, MODEL, Manifest, Metrics, tower_keras
from tests.service.shipped import latest, linked, manifest, run, test_set
from tests.training.conftest import encodings_named
from training import export, towers
from training.calibration import Calibration
from training.datasets import Arrays
from training.experiments import EXPERIMENTS
from training.halves import pack
from training.published import NotPublishedError
from training.runs import Run

MEMBERS = ("cifar10-mnist-like", "cifar10-strided")
PAIR = replace(EXPERIMENTS["cifar10-pair"], name="pair", members=MEMBERS, held_out=200)
IMAGES = 40

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:tf2onnx")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version folder of a pair whose calibration is fitted on some test images."""
    artifacts = linked(tmp_path_factory.mktemp("artifacts"), *MEMBERS)
    images, labels = test_set("cifar10")
    arrays = Arrays(images[:200], labels[:200], images[:IMAGES], labels[:IMAGES])
    folders = towers.member_folders(PAIR, artifacts)
    with encodings_named():
        run = Run(PAIR, towers.net(folders), towers.history(folders), members=folders)
        return export.publish(run, arrays, artifacts, command="python -m training train pair")


@pytest.fixture(scope="module")
def about(published: Path) -> Manifest:
    return Manifest.model_validate_json((published / MANIFEST).read_text())


def expected(metrics: Metrics) -> np.ndarray:
    images = test_set("cifar10")[0][:IMAGES]
    logits = [np.log(run(latest(name) / MODEL, images)["probabilities"]) for name in MEMBERS]
    fitted = Calibration(metrics.temperature, metrics.temperature_exponent)
    return fitted.probabilities(np.mean(logits, axis=0))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "tensorflow"])
def test_every_engine_answers_with_the_mean_of_the_calibrated_logits(
    published: Path, about: Manifest, engine: str
) -> None:
    opened = open_graph(published / MODEL, engine, threads=1)  # type: ignore[arg-type]
    answers = opened.run(test_set("cifar10")[0][:IMAGES])[0]
    assert answers == pytest.approx(expected(about.metrics), abs=1e-4)


def test_it_is_calibrated_by_entropy(about: Manifest) -> None:
    assert about.metrics.temperature_exponent != 0


def test_its_weights_are_the_members_own(published: Path, tmp_path: Path) -> None:
    for number, name in enumerate(MEMBERS, 1):
        packed = tmp_path / name
        packed.write_bytes((latest(name) / "model.keras").read_bytes())
        pack(packed)
        assert (published / tower_keras(number)).read_bytes() == packed.read_bytes()
    # What is not theirs is small: it is not stored twice.
    assert all((published / graph).stat().st_size < 60_000 for graph in (MODEL, FEATURE_MAPS))


def test_the_manifest_tells_of_the_members(about: Manifest) -> None:
    theirs = [manifest(name) for name in MEMBERS]
    assert [(one.name, one.version) for one in about.members] == [(m["name"], m["version"]) for m in theirs]
    assert about.parameters == sum(m["parameters"] for m in theirs)
    assert about.provenance.seconds == pytest.approx(sum(m["provenance"]["seconds"] for m in theirs), abs=1)
    names = [layer.name for layer in about.layers]
    assert {"tower1_conv2d", "tower2_conv2d", "average", "softmax"} <= set(names)
    assert not [name for name in names if "scaling" in name or "temperature" in name]


def test_every_layer_is_in_the_graph_of_feature_maps(published: Path, about: Manifest) -> None:
    images = test_set("cifar10")[0][:2]
    found = run(published / "feature_maps.onnx", images)
    assert list(found) == [layer.name for layer in about.layers]
    theirs = run(latest(MEMBERS[1]) / "feature_maps.onnx", images)
    assert found["tower2_conv2d"] == pytest.approx(theirs["conv2d"], abs=1e-5)


def test_the_history_is_one_training_after_the_other() -> None:
    rows = towers.history([latest(name) for name in MEMBERS])
    assert [row["epoch"] for row in rows] == list(range(1, 61))
    assert [row["tower"] for row in rows] == [1] * 10 + [2] * 50


def test_without_a_member_it_says_how_to_get_it(tmp_path: Path) -> None:
    artifacts = linked(tmp_path, MEMBERS[0])
    with pytest.raises(NotPublishedError, match="python -m training train cifar10-strided"):
        towers.member_folders(PAIR, artifacts)
