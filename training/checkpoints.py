"""What a checkpoint's file says of itself, without a net to put it into: `list` does without Keras."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.experiments import Experiment
from training.whole_files import reading

OF_SEED = re.compile(r"-seed-(\d+)$")  # how the name of a run with another seed ends
UNTRAINED = ("description", "calibration")  # fields that decide nothing before the export


class CheckpointError(Exception):
    """A checkpoint is in the way, damaged or another experiment's; the message says what to do."""


def history_kept(path: Path, experiment: Experiment | None = None) -> list[dict[str, float]]:
    """One row for each whole epoch that a checkpoint holds; none if there is none.

    Raises CheckpointError where it is damaged, or made with other settings than an experiment that is given.
    """
    if not path.is_file():
        return []
    with opened(path, only=["about"]) as (_, about):
        if experiment is not None:
            check_settings(experiment, about["experiment"], path)
        history: list[dict[str, float]] = about["history"]
        return history


@contextmanager
def opened(
    path: Path, only: Collection[str] | None = None
) -> Iterator[tuple[dict[str, NDArray[Any]], dict[str, Any]]]:
    """A checkpoint's arrays by name, and what it says of them. Raises CheckpointError where it is damaged, or they are
    not what whoever opened it needs."""
    try:
        # NumPy leaves a file open that it cannot read, unless it was given to it open.
        with reading(), path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (file.files if only is None else only)}
            about = json.loads(str(arrays["about"]))
        yield arrays, about
    except (KeyError, TypeError, ValueError) as error:  # of the file, or of what is in it
        raise CheckpointError(f"{path} is damaged ({error}): {_discarding(path)}") from error


def check_settings(experiment: Experiment, recorded: dict[str, Any], path: Path) -> None:
    """Raises CheckpointError, with the fields, where what was recorded at `path` is not what would be trained now."""
    # A field that came later has its default in what was recorded before.
    was = Experiment(name="", description="", dataset="", architecture="").record() | recorded
    was, now = (json.loads(json.dumps(settings)) for settings in (was, experiment.record()))
    told = [
        f"{field}: was {was[field]!r}, is {now.get(field)!r}"
        for field in was
        if field not in UNTRAINED and was[field] != now.get(field)
    ]
    if told:
        raise CheckpointError(
            f"{path} was made with other settings ({'; '.join(told)}): set them back to go on with it, "
            f"{_discarding(path)}"
        )


def _discarding(path: Path) -> str:
    """How to be rid of it, and of no other run of its experiment."""
    seed = OF_SEED.search(path.stem)
    return f"delete it, or train with {f'--seed {seed[1]} ' if seed else ''}--restart, which discards it"
