import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import drop
from training import fit
from training.checkpoints import CheckpointError, history_kept
from training.datasets import Arrays, training_split
from training.experiments import EXPERIMENTS
from training.nets_cifar import WHITENING, whiten
from training.runs import Run

SHORT = replace(
    EXPERIMENTS["mnist-8-filters"], name="short", epochs=4, readings=(2, 4), batch_size=64, held_out=100
)
SMALL = {"filters": (8, 8, 8), "depth": 2, "momentum": 0.6}  # options of cifar10-plain's architecture
FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy")


class _StopAfter:
    """Ends a run as Ctrl-C does, once so many epochs are kept."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def __call__(self, run: Run) -> None:
        if len(run.history) == self._epochs:
            raise KeyboardInterrupt


def curve(run: Run) -> np.ndarray:
    return np.array([[row[figure] for figure in FIGURES] for row in run.history])


def test_interrupted_run_resumes_with_the_same_curve_and_weights(
    few_arrays: dict[str, Arrays], tmp_path: Path
) -> None:
    arrays = few_arrays["mnist"]
    straight = fit.fit(SHORT, arrays, tmp_path / "straight.npz")
    checkpoint = tmp_path / "stopped.npz"
    with pytest.raises(KeyboardInterrupt):
        fit.fit(SHORT, arrays, checkpoint, after_epoch=_StopAfter(2))
    assert len(history_kept(checkpoint)) == 2
    resumed = fit.fit(SHORT, arrays, checkpoint, resume=True)
    assert curve(resumed) == pytest.approx(curve(straight), rel=1e-4)
    for one, other in zip(resumed.model.get_weights(), straight.model.get_weights(), strict=True):
        assert np.allclose(one, other, atol=1e-4)
    assert sorted(resumed.kept) == [2, 4]


def test_smaller_images_and_easy_ones_that_sit_out_resume_as_they_went(
    few_arrays: dict[str, Arrays], tmp_path: Path
) -> None:
    """Stopped between the epochs of small images and those of whole ones."""
    cheap = replace(
        EXPERIMENTS["cifar10-plain"],
        options=SMALL,
        epochs=2,
        easy=(0.7, 1.0),
        batch_size=64,
        held_out=100,
    )
    arrays = few_arrays["cifar10"]
    straight = fit.fit(cheap, arrays, tmp_path / "straight.npz")
    checkpoint = tmp_path / "stopped.npz"
    with pytest.raises(KeyboardInterrupt):
        fit.fit(cheap, arrays, checkpoint, after_epoch=_StopAfter(1))
    resumed = fit.fit(cheap, arrays, checkpoint, resume=True)
    assert curve(resumed) == pytest.approx(curve(straight), rel=1e-3)
    assert straight.losses is not None
    assert resumed.losses is not None
    assert resumed.losses[:200] == pytest.approx(straight.losses[:200], rel=1e-2)
    assert (straight.losses[:200] > 0).all()


def test_the_frozen_first_layer_knows_the_training_images_alone(
    few_arrays: dict[str, Arrays], tmp_path: Path
) -> None:
    untrained = replace(EXPERIMENTS["cifar10-plain"], options=SMALL, epochs=0, held_out=200)
    net = fit.build(untrained)
    images, *_ = training_split(few_arrays["cifar10"], 200)
    whiten(net, images)
    run = fit.fit(untrained, few_arrays["cifar10"], tmp_path / "run.npz")
    kernels = [model.get_layer(WHITENING).get_weights()[0] for model in (run.model, net)]
    assert np.array_equal(*kernels)


def test_checkpoint_of_other_settings_is_refused_with_the_way_out(
    few_arrays: dict[str, Arrays], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        fit.fit(SHORT, few_arrays["mnist"], checkpoint, after_epoch=_StopAfter(1))
    with pytest.raises(CheckpointError, match="--restart"):
        fit.fit(replace(SHORT, learning_rate=0.5), few_arrays["mnist"], checkpoint, resume=True)


def test_progress_counts_every_batch(few_arrays: dict[str, Arrays], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    fit.fit(
        replace(SHORT, epochs=1, readings=()),
        few_arrays["mnist"],
        tmp_path / "run.npz",
        progress=lambda done, batches, _figures: seen.append((done, batches)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]  # 200 images in batches of 64


@pytest.mark.parametrize("batch", [2, 4])
@pytest.mark.usefixtures("listening")
def test_a_stop_that_was_dropped_ends_the_run_before_the_next_batch_or_the_validation(
    few_arrays: dict[str, Arrays], tmp_path: Path, batch: int
) -> None:
    seen: list[int] = []

    def progress(done: int, *_: object) -> None:
        seen.append(done)
        if done == batch:
            drop()

    with pytest.raises(KeyboardInterrupt):
        fit.fit(SHORT, few_arrays["mnist"], tmp_path / "run.npz", progress=progress)
    assert seen == list(range(1, batch + 1))
    assert history_kept(tmp_path / "run.npz") == []


@pytest.mark.usefixtures("listening")
def test_a_stop_that_was_dropped_between_epochs_keeps_those_before_it(
    few_arrays: dict[str, Arrays], tmp_path: Path
) -> None:
    def after_epoch(run: Run) -> None:
        if len(run.history) == 2:
            drop()

    with pytest.raises(KeyboardInterrupt) as stopped:
        fit.fit(SHORT, few_arrays["mnist"], tmp_path / "run.npz", after_epoch=after_epoch)
    assert stopped.traceback[-2].name == "fit"  # not in a batch of the third
    assert len(history_kept(tmp_path / "run.npz")) == 2


def test_the_closing_epochs_have_options_of_their_own(few_arrays: dict[str, Arrays]) -> None:
    images = few_arrays["mnist"].train_images[:10]
    experiment = replace(
        EXPERIMENTS["mnist-compact"],
        epochs=10,
        augmentation_options={"shift": 3.0, "shear": 0.1},
        closing=0.2,
        closing_options={"shift": 1.0},
    )
    hands = [fit._augmentation(experiment, images, epoch)._hands for epoch in (1, 8, 9, 10)]  # type: ignore[attr-defined]
    assert [(one.shift, one.shear) for one in hands] == [(3.0, 0.1), (3.0, 0.1), (1.0, 0.1), (1.0, 0.1)]


def test_every_experiment_can_be_written_as_json() -> None:
    for experiment in EXPERIMENTS.values():
        assert json.loads(json.dumps(experiment.record()))["name"] == experiment.name
