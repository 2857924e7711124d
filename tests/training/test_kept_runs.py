from dataclasses import replace
from pathlib import Path

import keras
import pytest

from service.manifest import TeacherVersion
from training import kept_runs
from training.checkpoints import CheckpointError
from training.experiments import EXPERIMENTS
from training.fit import build
from training.runs import Run, save_checkpoint

NET = replace(EXPERIMENTS["mnist-8-filters"], epochs=1)


def keep(folder: Path, seed: int, epochs: int = 1, teacher: TeacherVersion | None = None) -> None:
    """A checkpoint as it lies there after so many epochs."""
    experiment = replace(NET, seed=seed)
    history: list[dict[str, float]] = [{"epoch": epoch + 1, "seconds": 1.0} for epoch in range(epochs)]
    run = Run(experiment, build(experiment), history, teacher=teacher)
    save_checkpoint(run, kept_runs.checkpoint_path(folder, experiment))


def run_of(teacher: TeacherVersion | None = None) -> Run:
    return Run(NET, keras.Sequential(), teacher=teacher)


def test_finished_runs_of_other_seeds_are_found_and_half_written_ones_passed_over(tmp_path: Path) -> None:
    for seed, epochs in ((NET.seed, 1), (2, 1), (3, 0), (11, 1)):
        keep(tmp_path, seed, epochs)
    # What a process leaves that is killed as it saves.
    (tmp_path / f"{NET.name}-seed-4.partial.npz").write_bytes(b"half a file")
    assert [run.experiment.seed for run in kept_runs.other_seeds(run_of(), tmp_path)] == [11, 2]


def test_a_seed_that_another_teacher_taught_is_no_run_of_the_same_experiment(tmp_path: Path) -> None:
    first, second = (TeacherVersion(name="someone", version=version, files={}) for version in "12")
    keep(tmp_path, 2, teacher=first)
    assert len(kept_runs.other_seeds(run_of(first), tmp_path)) == 1
    with pytest.raises(CheckpointError, match=r"seed-2\.npz was taught by someone 1 .* not by someone 2"):
        kept_runs.other_seeds(run_of(second), tmp_path)
