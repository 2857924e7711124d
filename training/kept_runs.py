"""The finished runs of an experiment among the checkpoints: its own, and those with other seeds."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from service.manifest import TeacherVersion
from training import locks
from training.checkpoints import OF_SEED, history_kept
from training.experiments import EXPERIMENTS, Experiment
from training.fit import build
from training.runs import Run, load_checkpoint


def checkpoint_path(folder: Path, experiment: Experiment) -> Path:
    """Where a model's training state is kept: runs with another seed than the experiment's have files of their own."""
    own = EXPERIMENTS[experiment.name].seed
    name = experiment.name if experiment.seed == own else f"{experiment.name}-seed-{experiment.seed}"
    return folder / f"{name}.npz"


def held(path: Path) -> AbstractContextManager[None]:
    """Keeps other processes from training what is kept at this path meanwhile: one would overwrite what the other has.
    Raises BusyError where one does already."""
    return locks.held(path.with_suffix(".lock"), f"training {path.stem} and keeps it in {path.parent}")


def finished(experiment: Experiment, path: Path, teacher: TeacherVersion | None = None) -> Run:
    """The run that a checkpoint holds. Raises CheckpointError, also where it is of another teacher than a given one."""
    run = Run(experiment, build(experiment), teacher=teacher)
    load_checkpoint(run, path)
    return run


def other_seeds(run: Run, folder: Path) -> list[Run]:
    """The finished runs of the same experiment with other seeds. Raises CheckpointError."""
    runs = []
    for path in sorted(folder.glob(f"{run.experiment.name}-seed-*.npz")):
        seed = OF_SEED.fullmatch(path.stem.removeprefix(run.experiment.name))
        if seed is None:  # such as what a process left that was killed as it wrote one
            continue
        if len(history_kept(path)) == run.experiment.epochs:
            other = replace(run.experiment, seed=int(seed[1]))
            runs.append(finished(other, path, run.teacher))
    return runs
