"""The finished runs of an experiment among the checkpoints: its own, and those with other seeds."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from service.manifest import TeacherVersion
from training.experiments import EXPERIMENTS, Experiment
from training.fit import build
from training.runs import CheckpointError, Run, history_kept, load_checkpoint


def checkpoint_path(folder: Path, experiment: Experiment) -> Path:
    """Where a model's training state is kept: runs with another seed than the experiment's have files of their own."""
    own = EXPERIMENTS[experiment.name].seed
    name = experiment.name if experiment.seed == own else f"{experiment.name}-seed-{experiment.seed}"
    return folder / f"{name}.npz"


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keeps other processes from training what is kept at this path meanwhile: one would overwrite what the other has.
    Raises CheckpointError where one does already."""
    try:
        import fcntl  # noqa: PLC0415 — not everywhere
    except ImportError:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Not the one that another has just let go of, and taken away.
            is_ours = lock.exists() and os.path.samestat(os.fstat(file.fileno()), lock.stat())
        except BlockingIOError:
            is_ours = False
        if not is_ours:
            raise CheckpointError(
                f"another process is training {path.stem} and keeps it in {path.parent}: wait for its end, or stop it"
            )
        try:
            yield
        finally:
            lock.unlink()


def finished(experiment: Experiment, path: Path, teacher: TeacherVersion | None = None) -> Run:
    """The run that a checkpoint holds. Raises CheckpointError, also where it is of another teacher than a given one."""
    run = Run(experiment, build(experiment), teacher=teacher)
    load_checkpoint(run, path)
    return run


def other_seeds(run: Run, folder: Path) -> list[Run]:
    """The finished runs of the same experiment with other seeds. Raises CheckpointError."""
    runs = []
    for path in sorted(folder.glob(f"{run.experiment.name}-seed-*.npz")):
        seed = re.fullmatch(r"-seed-(\d+)", path.stem.removeprefix(run.experiment.name))
        if seed is None:  # such as what a process left that was killed as it wrote one
            continue
        if len(history_kept(path)) == run.experiment.epochs:
            other = replace(run.experiment, seed=int(seed[1]))
            runs.append(finished(other, path, run.teacher))
    return runs
