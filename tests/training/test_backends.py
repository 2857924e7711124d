"""The same experiment on JAX: trained there, read and published here."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from service.settings import ROOT
from training import fit
from training.datasets import Arrays
from training.experiments import EXPERIMENTS
from training.runs import Run, load_checkpoint

SHORT = replace(EXPERIMENTS["mnist-8-filters"], epochs=1, batch_size=50, held_out=100)
TRAIN = """
import pickle, sys
from pathlib import Path
from training import fit
experiment, arrays = pickle.loads(Path(sys.argv[1]).read_bytes())
run = fit.fit(experiment, arrays, Path(sys.argv[2]))
print(run.origin.backend, run.history[-1]["val_loss"])
"""


def on_jax(program: str, *arguments: Path) -> str:
    """What a process with that backend prints."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_run_on_jax_is_read_here_and_answers_the_same(
    few_arrays: dict[str, Arrays], tmp_path: Path
) -> None:
    few = few_arrays["mnist"]
    arrays = replace(few, train_images=few.train_images[:300], train_labels=few.train_labels[:300])
    work, checkpoint = tmp_path / "work", tmp_path / "run.npz"
    work.write_bytes(pickle.dumps((SHORT, arrays)))
    backend, loss = on_jax(TRAIN, work, checkpoint).split()[-2:]
    run = Run(SHORT, fit.build(SHORT))
    load_checkpoint(run, checkpoint)
    assert run.origin is not None
    assert (backend, run.origin.backend) == ("jax", "jax")
    again = fit._validate(run, arrays.train_images[-100:], arrays.train_labels[-100:])
    assert again["val_loss"] == pytest.approx(float(loss), rel=1e-4)


RESUME = """
import pickle, sys
from pathlib import Path
from training import fit
experiment, arrays = pickle.loads(Path(sys.argv[1]).read_bytes())
folder = Path(sys.argv[2])
straight = fit.fit(experiment, arrays, folder / "straight.npz")

def stop(run):
    if len(run.history) == 1:
        raise KeyboardInterrupt

try:
    fit.fit(experiment, arrays, folder / "stopped.npz", after_epoch=stop)
except KeyboardInterrupt:
    resumed = fit.fit(experiment, arrays, folder / "stopped.npz", resume=True)
print(*(run.history[-1]["loss"] for run in (straight, resumed)))
"""


def test_a_run_on_jax_sees_every_batch_once_whether_it_was_stopped_or_not(
    few_arrays: dict[str, Arrays], tmp_path: Path
) -> None:
    few = few_arrays["mnist"]
    arrays = replace(few, train_images=few.train_images[:300], train_labels=few.train_labels[:300])
    work = tmp_path / "work"
    work.write_bytes(pickle.dumps((replace(SHORT, epochs=2, readings=()), arrays)))
    straight, resumed = on_jax(RESUME, work, tmp_path).split()[-2:]
    assert float(resumed) == pytest.approx(float(straight), rel=1e-4)
