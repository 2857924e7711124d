import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest

from service.manifest import (
    FEATURE_MAPS,
    KERAS_MODEL,
    MODEL,
    TEST_PROBABILITIES,
    Manifest,
    sha256_of,
)
from training import datasets, export, parity
from training.datasets import Arrays
from training.experiments import EXPERIMENTS
from training.fit import fit
from training.parity import ParityError, run_graph
from training.runs import Run

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:tf2onnx")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run, Arrays]:
    """A net trained for two epochs on random images, published twice: (version 2's folder, run, arrays)."""
    folder = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    labels = np.resize(np.arange(10), 300).astype(np.uint8)
    arrays = Arrays(images[:200], labels[:200], images[200:], labels[200:])
    experiment = replace(EXPERIMENTS["cifar10-batchnorm"], name="short", epochs=2, readings=(1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "VALIDATION_IMAGES", 50)
        run = fit(experiment, arrays, folder / "run.npz")
        for _ in range(2):
            path = export.publish(run, arrays, folder / "artifacts", command="python -m training train short")
    return path, run, arrays


def test_versions_count_up_and_nothing_partial_is_left(published: tuple[Path, Run, Arrays]) -> None:
    path = published[0]
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["1", "2"]
    assert path.name == "2"


def test_manifest_lists_every_file_with_its_checksum(published: tuple[Path, Run, Arrays]) -> None:
    path = published[0]
    manifest = Manifest.model_validate_json((path / "manifest.json").read_text())
    assert {entry.name for entry in path.iterdir()} == {"manifest.json", *manifest.files}
    for name, entry in manifest.files.items():
        assert (entry.bytes, entry.sha256) == ((path / name).stat().st_size, sha256_of(path / name))
    assert manifest.parameters == 309_290
    assert manifest.provenance.data["test_batch"] == "40351d587109b95175f43aff81a1287e"
    assert manifest.experiment == json.loads(json.dumps(published[1].experiment.record()))
    assert [reading.epoch for reading in manifest.metrics.readings] == [1, 2]
    assert manifest.metrics.readings[-1].test_accuracy == manifest.metrics.accuracy


def test_served_graph_answers_as_the_saved_keras_model(published: tuple[Path, Run, Arrays]) -> None:
    path, _, arrays = published
    served = run_graph(path / MODEL, arrays.test_images)
    model = keras.models.load_model(path / KERAS_MODEL)
    assert np.abs(served - model.predict(arrays.test_images, verbose=0)).max() < 1e-5
    assert np.array_equal(np.load(path / TEST_PROBABILITIES), served)
    assert served.sum(axis=1) == pytest.approx(np.ones(len(served)), abs=1e-5)


def test_feature_graph_has_every_layer_by_name_over_the_same_weights(
    published: tuple[Path, Run, Arrays],
) -> None:
    path, _, arrays = published
    session = onnxruntime.InferenceSession(path / FEATURE_MAPS)
    manifest = Manifest.model_validate_json((path / "manifest.json").read_text())
    assert [output.name for output in session.get_outputs()] == [layer.name for layer in manifest.layers]
    values = session.run(None, {"image": arrays.test_images[:3]})
    assert [list(value.shape[1:]) for value in values] == [layer.shape for layer in manifest.layers]
    # Each tensor once, though Keras's file and two graphs use it.
    weights = sum((path / file).stat().st_size for file in (KERAS_MODEL, MODEL, FEATURE_MAPS))
    assert weights < 2 * manifest.parameters * 1.1 + 100_000


def test_what_cannot_be_exported_leaves_no_version(
    published: tuple[Path, Run, Arrays], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        export, "run_graph", lambda _path, images: np.full((len(images), 10), 0.1, np.float32)[:, ::-1]
    )
    monkeypatch.setattr(parity, "CLEAR_MARGIN", 0.0)
    monkeypatch.setattr(datasets, "VALIDATION_IMAGES", 50)
    with pytest.raises(ParityError):
        export.publish(published[1], published[2], tmp_path, command="")
    assert list((tmp_path / "models" / "short").iterdir()) == []
