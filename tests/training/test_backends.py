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

SHORT = replace(EXPERIMENTS["mnist-8-filters"], epochs=1, batch_size=50, held_out=100)
TRAIN = """
import pickle, sys
from pathlib import Path
from training import fit
experiment, arrays = pickle.loads(Path(sys.argv[1]).read_bytes())
run = fit.fit(experiment, arrays, Path(sys.argv[2]))
print(run.origin.backend, run.history[-1]["val_loss"])
"""


def test_a_run_on_jax_is_read_here_and_answers_the_same(
    few_arrays: dict[str, Arrays], tmp_path: Path
) -> None:
    few = few_arrays["mnist"]
    arrays = replace(few, train_images=few.train_images[:300], train_labels=few.train_labels[:300])
    work, checkpoint = tmp_path / "work", tmp_path / "run.npz"
    work.write_bytes(pickle.dumps((SHORT, arrays)))
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", TRAIN, work, checkpoint],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    backend, loss = done.stdout.split()[-2:]
    run = fit.Run(SHORT, fit.build(SHORT))
    fit.load_checkpoint(run, checkpoint)
    assert run.origin is not None
    assert (backend, run.origin.backend) == ("jax", "jax")
    again = fit._validate(run, arrays.train_images[-100:], arrays.train_labels[-100:])
    assert again["val_loss"] == pytest.approx(float(loss), rel=1e-4)
