"""The training loop: one epoch at a time, each kept on disk before the next begins.

Order and augmentation of an epoch are drawn from (seed, epoch) alone and dropout's state is part of what is
kept, so a run that was stopped and resumed gives the same curve as one that was not.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.architectures import ARCHITECTURES
from training.augmentation import AUGMENTATIONS, Augmentation, Batches
from training.datasets import DATASETS, VALIDATION_IMAGES, Arrays, Images, Labels, one_hot, training_split
from training.experiments import Experiment
from training.nets_cifar import WHITENING, whiten
from training.optimisers import Averaging, Nesterov, Ramp

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
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(experiment.precision)
    try:
        model = ARCHITECTURES[experiment.architecture](dataset.shape, len(dataset.classes), **options)
    finally:
        keras.config.set_dtype_policy(usual)
    loss = (
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=experiment.label_smoothing)
        if experiment.label_smoothing
        else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.compile(optimizer=_optimiser(experiment), loss=loss, metrics=["accuracy"])
    return model


def _optimiser(experiment: Experiment) -> Any:
    rate: Any = experiment.learning_rate
    if experiment.schedule is not None:
        rate = Ramp(rate, experiment.epochs * _steps(experiment), *experiment.schedule)
    if experiment.optimiser == "nesterov":
        return Nesterov(rate, **experiment.optimiser_options)
    config = {"learning_rate": rate, **experiment.optimiser_options}
    return keras.optimizers.get({"class_name": experiment.optimiser, "config": config})


def _steps(experiment: Experiment) -> int:
    """Steps in an epoch."""
    images = DATASETS[experiment.dataset].train_images - VALIDATION_IMAGES
    return -(-images // experiment.batch_size)


def in_float32(run: Run) -> Run:
    """The same run with a net that computes in float32, for export."""
    if run.experiment.precision == "float32":
        return run
    model = build(replace(run.experiment, precision="float32"))
    model.set_weights(run.model.get_weights())
    return replace(run, model=model)


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
    if not run.history and any(layer.name == WHITENING for layer in run.model.layers):
        whiten(run.model, images)
    draw = _augmentation(experiment, images)
    for epoch in range(len(run.history) + 1, experiment.epochs + 1):
        began = time.perf_counter()
        row = _train_epoch(run, epoch, draw or images, labels, progress)
        row |= _validate(run, validation_images, validation_labels)
        run.history.append({"epoch": epoch, **row, "seconds": round(time.perf_counter() - began, 3)})
        if epoch in experiment.readings:
            run.kept[epoch] = run.model.get_weights()
        save_checkpoint(run, checkpoint)
        if after_epoch is not None:
            after_epoch(run)
    return run


def _augmentation(experiment: Experiment, images: Images) -> Augmentation | None:
    if experiment.augmentation is None:
        return None
    return AUGMENTATIONS[experiment.augmentation](images, **experiment.augmentation_options)


def _train_epoch(
    run: Run, epoch: int, images: Images | Augmentation, labels: Labels, progress: Progress | None
) -> dict[str, float]:
    experiment = run.experiment
    order = np.random.default_rng([experiment.seed, epoch]).permutation(len(labels))
    targets = _targets(experiment, labels)
    callbacks: list[Any] = [_Report(progress)] if progress else []
    if experiment.averaging:
        steps = _steps(experiment)
        callbacks.append(Averaging(experiment.averaging, (epoch - 1) * steps, experiment.epochs * steps))
    data: dict[str, Any]
    if isinstance(images, np.ndarray):
        data = {"x": images[order], "y": targets[order], "batch_size": experiment.batch_size}
    else:
        data = {"x": Batches(images, targets, order, experiment.batch_size, experiment.seed, epoch)}
    result = run.model.fit(**data, shuffle=False, verbose=0, callbacks=callbacks)
    rate = float(run.model.optimizer.learning_rate)
    return {**{key: float(values[-1]) for key, values in result.history.items()}, "learning_rate": rate}


def _targets(experiment: Experiment, labels: Labels) -> NDArray[Any]:
    """Labels [N], or rows of probabilities [N,classes] where the loss smooths them."""
    classes = len(DATASETS[experiment.dataset].classes)
    return one_hot(labels, classes) if experiment.label_smoothing else labels


def _validate(run: Run, images: Images, labels: Labels) -> dict[str, float]:
    targets = _targets(run.experiment, labels)
    values = run.model.evaluate(images, targets, batch_size=500, verbose=0, return_dict=True)
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
    arrays = {f"state_{k}": v.numpy() for k, v in enumerate(_state(run))}
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
        # A field that came later has its default in what was recorded before.
        recorded = (
            Experiment(name="", description="", dataset="", architecture="").record() | about["experiment"]
        )
        if json.dumps(recorded, sort_keys=True) != json.dumps(run.experiment.record(), sort_keys=True):
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
