"""The training loop: one epoch at a time, each kept on disk before the next begins.

Order and augmentation of an epoch are drawn from (seed, epoch) alone and dropout's state is part of what is
kept, so a run that was stopped and resumed gives the same curve as one that was not.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.architectures import ARCHITECTURES
from training.augmentation import AUGMENTATIONS, Augmentation, Batches, Rows, Smaller, Unchanged
from training.datasets import DATASETS, VALIDATION_IMAGES, Arrays, Images, Labels, one_hot, training_split
from training.experiments import Experiment
from training.halves import rounded
from training.machine import here
from training.nets_cifar import WHITENING, whiten
from training.optimisers import Averaging, Nesterov, Ramp
from training.quiet import quiet
from training.runs import Run, copy_state, load_checkpoint, save_checkpoint
from training.selection import LastLosses, images_in_an_epoch, of_targets, select, with_rows
from training.stops import heed
from training.teacher import Lessons, Teacher

_VALIDATION_BATCH = 500
_LAZY_BACKEND = "tensorflow"  # it builds metrics in the first step, from the data of that step

Progress = Callable[[int, int, dict[str, float]], None]  # (batches done, batches in all, running means)


def net(experiment: Experiment, side: int | None = None) -> keras.Model:
    """The experiment's net, untrained; for images of `side`·`side` pixels, if that is given.

    Raises TypeError or ValueError where there is none with these options, or for images so small.
    """
    dataset = DATASETS[experiment.dataset]
    shape = dataset.shape if side is None else (side, side, dataset.shape[2])
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in experiment.options.items()}
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(experiment.precision)
    try:
        return ARCHITECTURES[experiment.architecture](shape, len(dataset.classes), **options)
    finally:
        keras.config.set_dtype_policy(usual)


def build(experiment: Experiment, side: int | None = None) -> keras.Model:
    """The same net, seeded and compiled."""
    with quiet():  # this imports TensorFlow, whichever the backend is
        keras.utils.set_random_seed(experiment.seed)
    model = net(experiment, side)
    loss, metrics = _loss(experiment)
    model.compile(optimizer=optimiser(experiment), loss=loss, metrics=metrics)
    if keras.backend.backend() != _LAZY_BACKEND:
        _show_shapes(model, experiment)
    return model


def _show_shapes(model: keras.Model, experiment: Experiment) -> None:
    """Let Keras build optimiser, loss and metrics now, from a black image.

    With JAX, `fit` would do it in a net's first epoch from that epoch's first batches, and then let their threads
    begin again without putting aside what they had made: some batches would come twice and others never.
    """
    model.optimizer.build(model.trainable_variables)
    image = np.zeros((1, *model.input_shape[1:]), np.uint8)
    model.test_on_batch(image, _targets(experiment, np.zeros(1, np.uint8)))
    model.reset_metrics()


def _loss(experiment: Experiment) -> tuple[Any, list[Any]]:
    """The loss, and what is measured besides."""
    smoothing = {"from_logits": True, "label_smoothing": experiment.label_smoothing}
    if experiment.easy is not None:
        accuracy = of_targets(keras.metrics.categorical_accuracy)
        return of_targets(keras.losses.categorical_crossentropy, **smoothing), [
            keras.metrics.MeanMetricWrapper(accuracy, name="accuracy"),
            LastLosses(_training_images(experiment)),
        ]
    if experiment.label_smoothing or experiment.teacher is not None:
        return keras.losses.CategoricalCrossentropy(**smoothing), ["accuracy"]
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"]


def optimiser(experiment: Experiment) -> Any:
    """The experiment's, and its learning rate over all steps. Raises ValueError, TypeError where there is none such."""
    rate: Any = experiment.learning_rate
    if experiment.schedule is not None:
        rate = Ramp(rate, _steps(experiment, experiment.epochs), *experiment.schedule)
    if experiment.optimiser == "nesterov":
        return Nesterov(rate, **experiment.optimiser_options)
    config = {"learning_rate": rate, **experiment.optimiser_options}
    return keras.optimizers.get({"class_name": experiment.optimiser, "config": config})


def _training_images(experiment: Experiment) -> int:
    held_out = VALIDATION_IMAGES if experiment.held_out is None else experiment.held_out
    return DATASETS[experiment.dataset].train_images - held_out


def _easy(experiment: Experiment, epoch: int) -> float:
    """The share of the images that counts as easy in this epoch."""
    if experiment.easy is None or epoch == 1 or epoch > experiment.easy[1] * experiment.epochs:
        return 0.0
    return experiment.easy[0]


def _side(experiment: Experiment, epoch: int) -> int | None:
    """The side of the smaller images that this epoch is trained on, in pixels; None for whole ones."""
    if experiment.smaller is None or epoch > experiment.smaller[1] * experiment.epochs:
        return None
    return int(experiment.smaller[0])


def _steps(experiment: Experiment, epochs: int) -> int:
    """Steps in that many epochs from the first."""
    images = _training_images(experiment)
    seen = (images_in_an_epoch(images, _easy(experiment, epoch)) for epoch in range(1, epochs + 1))
    return sum(-(-count // experiment.batch_size) for count in seen)


def for_export(run: Run) -> Run:
    """The same run with a net of its own that computes in float32, its kernels rounded (training.halves)."""
    precision = run.experiment.precision
    model = build(replace(run.experiment, precision="float32"))
    model.set_weights(rounded(run.model.get_weights(), precision))
    kept = {epoch: rounded(weights, precision) for epoch, weights in run.kept.items()}
    return replace(run, model=model, kept=kept)


def fit(
    experiment: Experiment,
    arrays: Arrays,
    checkpoint: Path,
    *,
    teacher: Teacher | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    after_epoch: Callable[[Run], None] | None = None,
) -> Run:
    """Train to the last epoch, from scratch or from `checkpoint`. Raises CheckpointError.

    `teacher` is the experiment's, if it has one (ValueError if it is not given then); what it says is kept beside
    the checkpoint. A checkpoint of another teacher is refused: its curve would go on as no training's does.

    KeyboardInterrupt passes through; the checkpoint then holds every whole epoch before it.
    """
    if (teacher is None) != (experiment.teacher is None):
        raise ValueError(
            f"{experiment.name} is taught by {experiment.teacher}, not by {teacher and teacher.version}"
        )
    run = Run(experiment, build(experiment), teacher=teacher and teacher.version)
    if resume and checkpoint.is_file():
        load_checkpoint(run, checkpoint)
    images, labels, validation_images, validation_labels = training_split(arrays, experiment.held_out)
    if not run.history and any(layer.name == WHITENING for layer in run.model.layers):
        whiten(run.model, images)
    source: Augmentation | None = None
    for epoch in range(len(run.history) + 1, experiment.epochs + 1):
        heed()
        began = time.perf_counter()
        if source is None or epoch == _first_closing(experiment):
            source = _augmentation(experiment, images, epoch)
        draw, targets = source, _targets(experiment, labels)
        if teacher is not None:
            draw, said = Lessons(experiment, teacher, source, len(labels), checkpoint.parent).of(epoch)
            targets = _with_rows(experiment, said)
        row = _train_epoch(run, epoch, draw, targets, progress)
        row |= _validate(run, validation_images, validation_labels)
        run.origin = here()
        run.history.append({"epoch": epoch, **row, "seconds": round(time.perf_counter() - began, 3)})
        if epoch in experiment.readings:
            run.kept[epoch] = run.model.get_weights()
        save_checkpoint(run, checkpoint)
        if after_epoch is not None:
            after_epoch(run)
    return run


def _first_closing(experiment: Experiment) -> int:
    """The first of the epochs with `closing_options`; one after the last where there are none."""
    return experiment.epochs + 1 - round(experiment.closing * experiment.epochs)


def _augmentation(experiment: Experiment, images: Images, epoch: int) -> Augmentation:
    if experiment.augmentation is None:
        return Unchanged(images)
    options = dict(experiment.augmentation_options)
    if epoch >= _first_closing(experiment):
        options |= experiment.closing_options
    return AUGMENTATIONS[experiment.augmentation](images, **options)


def _train_epoch(
    run: Run, epoch: int, draw: Augmentation, targets: NDArray[Any], progress: Progress | None
) -> dict[str, float]:
    experiment = run.experiment
    random = np.random.default_rng([experiment.seed, epoch])
    callbacks: list[Any] = [_Heed(), *([_Report(progress)] if progress else [])]
    if experiment.averaging:
        done, steps = (_steps(experiment, epochs) for epochs in (epoch - 1, experiment.epochs))
        callbacks.append(Averaging(experiment.averaging, done, steps))
    order: Rows
    weights = None
    if experiment.easy is None:
        order = random.permutation(len(targets))
    else:
        losses = np.zeros(len(targets), np.float32) if run.losses is None else run.losses[: len(targets)]
        order, weights = select(losses, _easy(experiment, epoch), random)
    side = _side(experiment, epoch)
    if side is not None:
        draw = Smaller(draw, side)
    data = Batches(draw, targets, order, experiment.batch_size, experiment.seed, epoch, weights=weights)
    history, rate = _fit_once(run, side, data, callbacks)
    return {**{key: float(values[-1]) for key, values in history.items()}, "learning_rate": rate}


def _fit_once(
    run: Run, side: int | None, data: Batches, callbacks: list[Any]
) -> tuple[dict[str, list[float]], float]:
    """One epoch of Keras's `fit`, by the net for smaller images where they are: its history and learning rate."""
    model = run.model
    if side is not None:
        model = run.smaller = run.smaller or build(run.experiment, side)
        copy_state(run.model, model)
    result = model.fit(data, callbacks=callbacks, shuffle=False, verbose=0)
    for group in model.metrics:
        for metric in getattr(group, "metrics", ()):
            if isinstance(metric, LastLosses):
                run.losses = metric.added_to(run.losses)
    if side is not None:
        copy_state(model, run.model)
    history = {key: values for key, values in result.history.items() if key != "last_losses"}
    return history, float(model.optimizer.learning_rate)


def _targets(experiment: Experiment, labels: Labels) -> NDArray[Any]:
    """Labels [N], or rows of probabilities [N,classes] where the loss smooths them; with the images' numbers where
    their losses are remembered."""
    classes = len(DATASETS[experiment.dataset].classes)
    if experiment.easy is not None or experiment.label_smoothing or experiment.teacher is not None:
        return _with_rows(experiment, one_hot(labels, classes))
    return labels


def _with_rows(experiment: Experiment, targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of probabilities [N,classes] as the experiment's loss reads them."""
    return targets if experiment.easy is None else with_rows(targets)


def _validate(run: Run, images: Images, labels: Labels) -> dict[str, float]:
    targets = _targets(run.experiment, labels)
    if run.experiment.easy is not None:
        targets[:, -1] = _training_images(run.experiment)  # not one of the training images
    # Not the arrays themselves: see training.predict on what they leave behind.
    data = Batches(Unchanged(images), targets, np.arange(len(images)), _VALIDATION_BATCH, 0, 0)
    values = run.model.evaluate(data, callbacks=[_Heed()], verbose=0, return_dict=True)
    return {f"val_{key}": float(value) for key, value in values.items() if key != "last_losses"}


class _Heed(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the loop before a batch once a stop was heard. Not after one: there Keras would wait for its figures, which
    a graphics card may still be computing."""

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        heed()

    def on_test_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        heed()


class _Report(keras.callbacks.Callback):  # type: ignore[misc]
    """Hands the loop's running means to whoever shows progress."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._progress(batch + 1, self.params["steps"], logs or {})
