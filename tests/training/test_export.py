import errno
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
from scipy.special import softmax

from service.manifest import (
    FEATURE_MAPS,
    KERAS_MODEL,
    MODEL,
    TEST_PROBABILITIES,
    Manifest,
    sha256_of,
)
from tests.service.shipped import test_set
from tests.training.conftest import encodings_named
from training import calibration, evaluate, export, parity
from training.datasets import Arrays, Images
from training.experiments import EXPERIMENTS
from training.fit import build, for_export
from training.locks import BusyError
from training.machine import Origin
from training.parity import ParityError, run_graph
from training.predict import predict
from training.runs import Run
from training.views import mean_logits

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:tf2onnx")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run, Arrays]:
    """A net as if it had been trained for two epochs, published beside a version 1: (its folder, run, arrays)."""
    folder = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    labels = np.resize(np.arange(10), 300).astype(np.uint8)
    arrays = Arrays(images[:200], labels[:200], images[200:], labels[200:])
    experiment = replace(
        EXPERIMENTS["cifar10-batchnorm"], name="short", epochs=2, readings=(1, 2), held_out=50
    )
    history = [{"epoch": epoch, "val_accuracy": 0.1, "seconds": 1.0} for epoch in (1, 2)]
    run = Run(experiment, build(experiment), history)
    first = run.model.get_weights()
    # Batch norm's statistics and biases are no longer what they were.
    moved = [weight + rng.uniform(0, 0.5, weight.shape) * (weight.ndim == 1) for weight in first]
    run.model.set_weights(moved)
    run.kept = {1: first, 2: run.model.get_weights()}
    (folder / "models" / "short" / "1").mkdir(parents=True)
    return export.publish(run, arrays, folder, command="python -m training train short"), run, arrays


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
    whole = session.run(None, {"image": arrays.test_images})
    ranges = [(layer.minimum, layer.maximum) for layer in manifest.layers]
    assert np.array(ranges) == pytest.approx(np.array([(v.min(), v.max()) for v in whole]), abs=1e-3)
    # Each tensor once, though Keras's file and two graphs use it.
    weights = sum((path / file).stat().st_size for file in (KERAS_MODEL, MODEL, FEATURE_MAPS))
    assert weights < 2 * manifest.parameters * 1.1 + 100_000


VALIDATION = 100


@pytest.fixture(scope="module")
def net() -> tuple[Run, Arrays]:
    """A net that was never trained, with a history no two figures of which are the same. It is right about every test
    image, and about 70 of the 100 validation images."""
    experiment = replace(
        EXPERIMENTS["mnist-8-filters"],
        name="told",
        epochs=2,
        readings=(1,),
        augmentation="photographs",
        held_out=VALIDATION,
    )
    history = [
        {"epoch": 1, "accuracy": 0.11, "val_accuracy": 0.21, "seconds": 1.0},
        {"epoch": 2, "accuracy": 0.12, "val_accuracy": 0.22, "seconds": 2.0},
    ]
    origin = Origin("somebody's card", "another", "0.1")
    run = Run(experiment, build(experiment), history, origin=origin)
    *below, kernel, bias = run.model.get_weights()
    run.model.set_weights([*below, 50 * kernel, bias])  # as sure as a trained one
    run.kept[1] = build(replace(experiment, seed=5)).get_weights()
    images = test_set("mnist")[0][:250]
    said = logits(run, images).argmax(1).astype(np.uint8)
    labels = said.copy()
    labels[: 90 + 30] = (labels[: 90 + 30] + 1) % 10
    cut = 90 + VALIDATION
    return run, Arrays(images[:cut], labels[:cut], images[cut:], labels[cut:])


def logits(run: Run, images: Images) -> np.ndarray:
    """What the net says that is published."""
    return predict(for_export(run).model, images)


@pytest.fixture(scope="module")
def told(net: tuple[Run, Arrays], tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """What is published of it, beside another seed, where bfloat16 has one image wrong."""
    run, arrays = net
    other = replace(run.experiment, seed=7)
    last = {"epoch": 2, "accuracy": 0.13, "val_accuracy": 0.23, "seconds": 4.0}
    others = [Run(other, build(other), [run.history[0], last], dict(run.kept))]

    def one_wrong(path: Path, images: Images) -> np.ndarray:
        answers = run_graph(path, images)
        answers[0] = np.roll(answers[0], 1)
        return answers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "bfloat16_answers", one_wrong)
        with encodings_named():
            folder = export.publish(run, arrays, tmp_path_factory.mktemp("told"), command="", others=others)
    return Manifest.model_validate_json((folder / "manifest.json").read_text())


def test_the_calibration_is_fitted_on_the_images_held_out(net: tuple[Run, Arrays], told: Manifest) -> None:
    run, arrays = net
    said, labels = logits(run, arrays.train_images[-VALIDATION:]), arrays.train_labels[-VALIDATION:]
    assert told.metrics.temperature == calibration.fit(calibration.TEMPERATURE, said, labels).temperature
    tested = calibration.fit(calibration.TEMPERATURE, logits(run, arrays.test_images), arrays.test_labels)
    assert abs(told.metrics.temperature / tested.temperature - 1) > 0.1


def test_what_was_before_the_calibration_is_of_the_plain_logits(
    net: tuple[Run, Arrays], told: Manifest
) -> None:
    run, arrays = net
    plain = softmax(logits(run, arrays.test_images), axis=1)
    expected = evaluate.negative_log_likelihood(plain, arrays.test_labels)
    assert told.metrics.nll_before_temperature == pytest.approx(expected, rel=1e-5)
    assert abs(told.metrics.nll / expected - 1) > 0.01


def test_six_views_are_told_beside_the_one(net: tuple[Run, Arrays], told: Manifest) -> None:
    run, arrays = net
    said = mean_logits(partial(logits, run), arrays.test_images)
    assert told.metrics.accuracy == 1
    assert told.metrics.accuracy_tta == float((said.argmax(1) == arrays.test_labels).mean()) < 1


def test_every_figure_of_training_is_of_its_own_epoch_and_seed(
    net: tuple[Run, Arrays], told: Manifest
) -> None:
    run, arrays = net
    earlier = replace(run, model=build(replace(run.experiment, seed=5)))
    share = float((logits(earlier, arrays.test_images).argmax(1) == arrays.test_labels).mean())
    (reading,) = told.metrics.readings
    assert (reading.epoch, reading.validation_accuracy, reading.test_accuracy) == (1, 0.21, share)
    assert share < 1
    assert told.metrics.validation_accuracy == 0.22
    own, other = told.metrics.seeds
    # The weights of the last epoch are read after those of an earlier one.
    assert (own.seed, own.validation_accuracy, own.test_accuracy, own.seconds) == (1, 0.22, 1, 3)
    assert (other.seed, other.validation_accuracy, other.seconds) == (7, 0.23, 5)
    assert other.test_accuracy < 1


def test_bfloat16_is_compared_with_what_is_served(told: Manifest) -> None:
    assert told.bfloat16 is not None
    assert (told.bfloat16.labels_changed, told.bfloat16.correct_changed) == (1, -1)


def test_where_it_was_trained_is_told_though_it_is_exported_elsewhere(told: Manifest) -> None:
    assert told.provenance.hardware == "somebody's card"
    assert told.provenance.libraries["another"] == "0.1"
    assert keras.backend.backend() in told.provenance.libraries


def test_towers_are_validated_on_the_images_held_out(net: tuple[Run, Arrays], tmp_path: Path) -> None:
    run, arrays = net
    of_towers = replace(for_export(run), members=[tmp_path])
    assert export._validation_accuracy(of_towers, arrays) == 0.7


def test_a_model_is_published_by_one_at_a_time(net: tuple[Run, Arrays], tmp_path: Path) -> None:
    """The other is told before it has read anything, and the first goes on."""
    steps: list[str] = []

    def step(text: str) -> None:
        steps.append(text)
        with pytest.raises(
            BusyError, match=r"another process is publishing told in .*told: wait for its end"
        ):
            export.publish(*net, tmp_path, command="", step=steps.append)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export.publish(*net, tmp_path, command="", step=step)
    assert len(steps) == 1
    assert list((tmp_path / "models" / "told").iterdir()) == []


def test_a_full_disk_is_told_with_the_models_folder(
    net: tuple[Run, Arrays], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export, "pack", full)
    home = tmp_path / "models" / "told"
    with pytest.raises(OSError, match="No space") as raised:
        export.publish(*net, tmp_path, command="")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(home))
    assert list(home.iterdir()) == []


def test_what_cannot_be_exported_leaves_no_version(
    published: tuple[Path, Run, Arrays], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        export, "run_graph", lambda _path, images: np.full((len(images), 10), 0.1, np.float32)[:, ::-1]
    )
    monkeypatch.setattr(parity, "CLEAR_MARGIN", 0.0)
    with pytest.raises(ParityError):
        export.publish(published[1], published[2], tmp_path, command="")
    assert list((tmp_path / "models" / "short").iterdir()) == []
