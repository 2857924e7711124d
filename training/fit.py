"""The training loop: one epoch at a time, each kept on disk before the next begins.

Order and augmentation of an epoch are drawn from (seed, epoch) alone and dropout's state is part of what is
kept, so a run that was stopped and resumed gives the same curve as one that was not.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.architectures import ARCHITECTURES
from training.datasets import DATASETS, Arrays, Images, Labels, training_split
from training.experiments import Experiment

Progress = Callable[[int, int, dict[str, float]], None]  # (batches done, batches in all, running means)


class CheckpointError(Exception):
    """A checkpoint is in the way, or is not this experiment's; the message says what to do."""


@dataclass
class Run:
    """A net in training and all that is needed to go on with it."""

    experiment: Experiment
    model: keras.Model
    history: list[dict[str, float]] = field(default_factory=list)  # one row an epoch
    kept: dict[int, list[NDArray[Any]]] = field(default_factory=dict)  # weights at the reading epochs

    @property
    def seconds(self) -> float:
        """Wall-clock time of the epochs so far, without pauses between them."""
        return sum(row["seconds"] for row in self.history)


def build(experiment: Experiment) -> keras.Model:
    """The experiment's net, seeded and compiled, untrained."""
    keras.utils.set_random_seed(experiment.seed)
    dataset = DATASETS[experiment.dataset]
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in experiment.options.items()}
    model = ARCHITECTURES[experiment.architecture](dataset.shape, len(dataset.classes), **options)
    model.compile(
        optimizer=keras.optimizers.get(
            {"class_name": experiment.optimiser, "config": {"learning_rate": experiment.learning_rate}}
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def fit(
    experiment: Experiment,
    arrays: Arrays,
    checkpoint: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    after_epoch: Callable[[Run], None] | None = None,
) -> Run:
    """Train to the last epoch, from scratch or from `checkpoint`. Raises CheckpointError.

    KeyboardInterrupt passes through; the checkpoint then holds every whole epoch before it.
    """
    run = Run(experiment, build(experiment))
    if resume and checkpoint.is_file():
        load_checkpoint(run, checkpoint)
    images, labels, validation_images, validation_labels = training_split(arrays)
    for epoch in range(len(run.history) + 1, experiment.epochs + 1):
        began = time.perf_counter()
        row = _train_epoch(run, epoch, images, labels, progress)
        row |= _validate(run.model, validation_images, validation_labels)
        run.history.append({"epoch": epoch, **row, "seconds": round(time.perf_counter() - began, 3)})
        if epoch in experiment.readings:
            run.kept[epoch] = run.model.get_weights()
        save_checkpoint(run, checkpoint)
        if after_epoch is not None:
            after_epoch(run)
    return run


def _train_epoch(
    run: Run, epoch: int, images: Images, labels: Labels, progress: Progress | None
) -> dict[str, float]:
    order = np.random.default_rng([run.experiment.seed, epoch]).permutation(len(labels))
    result = run.model.fit(
        images[order],
        labels[order],
        batch_size=run.experiment.batch_size,
        shuffle=False,
        verbose=0,
        callbacks=[_Report(progress)] if progress else [],
    )
    rate = float(keras.ops.convert_to_numpy(run.model.optimizer.learning_rate))
    return {**{key: float(values[-1]) for key, values in result.history.items()}, "learning_rate": rate}


def _validate(model: keras.Model, images: Images, labels: Labels) -> dict[str, float]:
    values = model.evaluate(images, labels, batch_size=500, verbose=0, return_dict=True)
    return {f"val_{key}": float(value) for key, value in values.items()}


class _Report(keras.callbacks.Callback):  # type: ignore[misc]
    """Hands the loop's running means to whoever shows progress."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._progress(batch + 1, self.params["steps"], logs or {})


def _state(run: Run) -> list[Any]:
    """All that changes in training: weights, dropout's random state, the optimiser's own variables."""
    return [*run.model.variables, *run.model.optimizer.variables]


def save_checkpoint(run: Run, path: Path) -> None:
    """Write the run as one file, whole or not at all."""
    if not run.model.optimizer.built:
        run.model.optimizer.build(run.model.trainable_variables)
    arrays = {f"state_{k}": keras.ops.convert_to_numpy(v) for k, v in enumerate(_state(run))}
    for epoch, weights in run.kept.items():
        arrays |= {f"kept_{epoch}_{k}": weight for k, weight in enumerate(weights)}
    about = json.dumps({"experiment": run.experiment.record(), "history": run.history})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, about=np.array(about), **arrays)
    partial.replace(path)


def load_checkpoint(run: Run, path: Path) -> None:
    """Put a checkpoint's state into a freshly built run. Raises CheckpointError if it is another experiment's."""
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        if about["experiment"] != json.loads(json.dumps(run.experiment.record())):
            raise CheckpointError(f"{path} was made with other settings: delete it, or train with --restart")
        run.history = about["history"]
        run.model.optimizer.build(run.model.trainable_variables)
        for k, variable in enumerate(_state(run)):
            variable.assign(file[f"state_{k}"])
        count = len(run.model.get_weights())
        for epoch in {int(name.split("_")[1]) for name in file.files if name.startswith("kept_")}:
            run.kept[epoch] = [file[f"kept_{epoch}_{k}"] for k in range(count)]


def epochs_kept(path: Path) -> int:
    """How many whole epochs a checkpoint holds; 0 if there is none."""
    if not path.is_file():
        return 0
    with np.load(path, allow_pickle=False) as file:
        return len(json.loads(str(file["about"]))["history"])
