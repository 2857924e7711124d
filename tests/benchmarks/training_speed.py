"""How fast a flagship trains: images a second with its augmentation and without, and what augmentation costs,
beside a plain Keras fit of the same net on the same images.

    python -m tests.benchmarks.training_speed [NAME …] [--images N] [--precision float32] [--json FILE]
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.arguments import new_file, one_of, parser_of, whole
from tests.benchmarks.data import loaded
from tests.benchmarks.needed import needed
from training.datasets import DATASETS, VALIDATION_IMAGES, Arrays, one_hot
from training.experiments import EXPERIMENTS, Experiment
from training.quiet import quiet

with needed(), quiet():
    import keras

    from training.augmentation import AUGMENTATIONS, Batches, Unchanged
    from training.fit import build, fit

EPOCHS = 2
_WHOLE = 100  # from here on figures are printed as whole numbers
FLAGSHIPS = ("mnist-compact", "cifar10-fast")
AUGMENTED = [name for name, experiment in EXPERIMENTS.items() if experiment.augmentation]


def main() -> None:
    """Print one table row a way of training; with --json also write them."""
    options = _arguments()
    rows = {name: measure(name, options.images, options.precision) for name in options.names or FLAGSHIPS}
    for name, row in rows.items():
        lines = (
            f"{key} {value:,.0f}" if value >= _WHOLE else f"{key} {value:.3g}" for key, value in row.items()
        )
        print(name, *lines, sep="\n  ", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def measure(name: str, images: int, precision: str | None) -> dict[str, float]:
    """Images a second of the last of two epochs over `images` training images; times in seconds."""
    # Epochs of all images at their own size: the cheaper ones of some flagships are no measure of speed.
    # A teacher is asked once, before them.
    experiment = replace(
        EXPERIMENTS[name], epochs=EPOCHS, held_out=None, smaller=None, easy=None, teacher=None
    )
    if precision:
        experiment = replace(experiment, precision=precision)
    arrays = loaded(DATASETS[experiment.dataset])
    part = replace(
        arrays,
        train_images=np.concatenate([arrays.train_images[:images], arrays.train_images[-VALIDATION_IMAGES:]]),
        train_labels=np.concatenate([arrays.train_labels[:images], arrays.train_labels[-VALIDATION_IMAGES:]]),
    )
    augmented = _last_epoch(experiment, part)
    still = _last_epoch(replace(experiment, augmentation=None), part)
    plain = _plain_fit(experiment, part)
    alone, prepared = _augmentation_alone(experiment, part)
    return {
        "images/s": images / augmented,
        "images/s without augmentation": images / still,
        "images/s of a plain Keras fit": images / plain,
        "augmentation adds, share of an epoch": 1 - still / augmented,
        "augmentation alone, images/s of one thread": images / alone,
        "augmentation alone, share of one core": alone / augmented,
        "augmentation's preparation, s once": prepared,
    }


def _last_epoch(experiment: Experiment, arrays: Arrays) -> float:
    """Seconds of the last epoch's training steps, as the loop does them: the first pays for compiling."""
    with tempfile.TemporaryDirectory() as folder:
        run = fit(experiment, arrays, Path(folder) / "run.npz")
    return run.history[-1]["seconds"] - _seconds(lambda: _validation(run.model, experiment, arrays))


def _validation(model: keras.Model, experiment: Experiment, arrays: Arrays) -> None:
    labels = arrays.train_labels[-VALIDATION_IMAGES:]
    targets = one_hot(labels, 10) if experiment.label_smoothing else labels
    images = Unchanged(arrays.train_images[-VALIDATION_IMAGES:])
    model.evaluate(Batches(images, targets, np.arange(len(labels)), 500, 0, 0), verbose=0)


def _plain_fit(experiment: Experiment, arrays: Arrays) -> float:
    """Seconds of an epoch of the same net with Keras's own loop, SGD and a constant rate."""
    model = build(replace(experiment, averaging=0.0, augmentation=None))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True), loss, metrics=["accuracy"])
    cut = len(arrays.train_labels) - VALIDATION_IMAGES
    clock = _Clock()
    data: dict[str, Any] = {"x": arrays.train_images[:cut], "y": arrays.train_labels[:cut], "verbose": 0}
    model.fit(**data, batch_size=experiment.batch_size, epochs=EPOCHS, callbacks=[clock])
    return clock.seconds


class _Clock(keras.callbacks.Callback):  # type: ignore[misc]
    """Times the last epoch's steps, without what TensorFlow's pipeline takes to end (see training.predict)."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.seconds = time.perf_counter() - self._began


def _augmentation_alone(experiment: Experiment, arrays: Arrays) -> tuple[float, float]:
    """Seconds of one thread for an epoch's batches, and of the preparation before the first."""
    cut = len(arrays.train_labels) - VALIDATION_IMAGES
    began = time.perf_counter()
    make = AUGMENTATIONS[experiment.augmentation or ""]
    draw = make(arrays.train_images[:cut], **experiment.augmentation_options)
    prepared = time.perf_counter() - began
    batches = Batches(draw, arrays.train_labels, np.arange(cut), experiment.batch_size, experiment.seed, 1)
    each = [_seconds(lambda k=k: batches[k]) for k in range(len(batches))]  # type: ignore[misc]
    return statistics.median(each) * len(batches), prepared


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        type=one_of(AUGMENTED),
        metavar="NAME",
        help=f"any of {', '.join(AUGMENTED)}; default: {' '.join(FLAGSHIPS)}",
    )
    parser.add_argument("--images", type=whole(1), default=20_000, help="training images in an epoch")
    parser.add_argument(
        "--precision", choices=("float32", "mixed_bfloat16"), help="default: the experiment's"
    )
    parser.add_argument("--json", type=new_file, help="also write the figures here")
    options = parser.parse_args()
    for name in options.names or FLAGSHIPS:
        most = DATASETS[EXPERIMENTS[name].dataset].train_images - VALIDATION_IMAGES
        if options.images > most:
            parser.error(f"--images {options.images}: there are {most:,} to train {name} on")
    return options


if __name__ == "__main__":
    main()
