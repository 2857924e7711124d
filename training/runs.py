"""A net in training, and the file that keeps it from one epoch to the next."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.experiments import Experiment
from training.machine import Origin


class CheckpointError(Exception):
    """A checkpoint is in the way, or is not this experiment's; the message says what to do."""


@dataclass
class Run:
    """A net in training and all that is needed to go on with it."""

    experiment: Experiment
    model: keras.Model
    history: list[dict[str, float]] = field(default_factory=list)  # one row an epoch
    kept: dict[int, list[NDArray[Any]]] = field(default_factory=dict)  # weights at the reading epochs
    losses: NDArray[np.float32] | None = (
        None  # [N], the training images' last ones, where the experiment selects
    )
    smaller: keras.Model | None = None  # the same net for the smaller images of the first epochs
    members: list[Path] = field(default_factory=list)  # the published nets that it is made of, if it is
    origin: Origin | None = None  # where the last epoch was trained, if it is known

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
    about = json.dumps({"experiment": run.experiment.record(), "history": run.history, "origin": run.origin})
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
        run.origin = Origin(*about["origin"]) if about.get("origin") else None
        run.model.optimizer.build(run.model.trainable_variables)
        for k, variable in enumerate(_state(run.model)):
            variable.assign(file[f"state_{k}"])
        run.losses = file["losses"] if "losses" in file.files else None
        count = len(run.model.get_weights())
        for epoch in {int(name.split("_")[1]) for name in file.files if name.startswith("kept_")}:
            run.kept[epoch] = [file[f"kept_{epoch}_{k}"] for k in range(count)]


def epochs_kept(path: Path) -> int:
    """How many whole epochs a checkpoint holds; 0 if there is none."""
    if not path.is_file():
        return 0
    with np.load(path, allow_pickle=False) as file:
        return len(json.loads(str(file["about"]))["history"])
