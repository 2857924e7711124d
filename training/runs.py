"""A net in training, and the file that keeps it from one epoch to the next."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from service.manifest import TeacherVersion
from training.checkpoints import CheckpointError, check_settings, opened
from training.experiments import Experiment
from training.machine import Origin
from training.whole_files import written


@dataclass
class Run:
    """A net in training and all that is needed to go on with it."""

    experiment: Experiment
    model: keras.Model
    history: list[dict[str, float]] = field(default_factory=list)  # one row an epoch
    kept: dict[int, list[NDArray[Any]]] = field(default_factory=dict)  # weights at the reading epochs
    # [N], the training images' last ones, where the experiment selects
    losses: NDArray[np.float32] | None = None
    smaller: keras.Model | None = None  # the same net for the smaller images of the first epochs
    members: list[Path] = field(default_factory=list)  # the published nets that it is made of, if it is
    origin: Origin | None = None  # where the last epoch was trained, if it is known
    teacher: TeacherVersion | None = None  # whose answers the epochs learn, if they do and it is known

    @property
    def seconds(self) -> float:
        """Wall-clock time of the epochs so far, without pauses between them."""
        return sum(row["seconds"] for row in self.history)


def copy_state(source: keras.Model, target: keras.Model) -> None:
    """Weights and the optimiser's variables of one net into another of the same layers."""
    for model in (source, target):
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
    pairs = zip(_state(source), _state(target), strict=True)
    for variable, twin in pairs:
        twin.assign(variable)


def _state(model: keras.Model) -> list[Any]:
    """All that changes in training: weights, dropout's random state, the optimiser's own variables."""
    return [*model.variables, *model.optimizer.variables]


def save_checkpoint(run: Run, path: Path) -> None:
    """Write the run as one file, whole or not at all."""
    if not run.model.optimizer.built:
        run.model.optimizer.build(run.model.trainable_variables)
    arrays = {f"state_{k}": v.numpy() for k, v in enumerate(_state(run.model))}
    if run.losses is not None:
        arrays["losses"] = run.losses
    for epoch, weights in run.kept.items():
        arrays |= {f"kept_{epoch}_{k}": weight for k, weight in enumerate(weights)}
    about = json.dumps(
        {
            "experiment": run.experiment.record(),
            "history": run.history,
            "origin": run.origin,
            "teacher": run.teacher and run.teacher.model_dump(),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path, path.with_suffix(".partial.npz")) as partial:
        np.savez(partial, about=np.array(about), **arrays)


def load_checkpoint(run: Run, path: Path) -> None:
    """Put a checkpoint's state into a freshly built run.

    Raises CheckpointError if it is damaged, another experiment's, or of another teacher than the run names; a run
    that names none takes the checkpoint's.
    """
    with opened(path) as (arrays, about):
        check_settings(run.experiment, about["experiment"], path)
        taught_by = TeacherVersion.model_validate(about["teacher"]) if about.get("teacher") else None
        if run.teacher is not None and run.teacher != taught_by:
            raise CheckpointError(
                f"{path} was taught by {_described(taught_by)}, not by {_described(run.teacher)}: "
                "make the first the latest version again, or train with --restart"
            )
        run.history, run.teacher = about["history"], taught_by
        run.origin = Origin(*about["origin"]) if about.get("origin") else None
        run.model.optimizer.build(run.model.trainable_variables)
        for k, variable in enumerate(_state(run.model)):
            variable.assign(arrays[f"state_{k}"])
        run.losses = arrays.get("losses")
        count = len(run.model.get_weights())
        for epoch in {int(name.split("_")[1]) for name in arrays if name.startswith("kept_")}:
            run.kept[epoch] = [arrays[f"kept_{epoch}_{k}"] for k in range(count)]


def _described(teacher: TeacherVersion | None) -> str:
    """With the beginning of its files' checksums: versions of two artifact folders can have the same number."""
    if teacher is None:
        return "one that it does not name"
    sums = ", ".join(f"{file} {sha256[:8]}" for file, sha256 in sorted(teacher.files.items()))
    return f"{teacher.name} {teacher.version} ({sums})"
