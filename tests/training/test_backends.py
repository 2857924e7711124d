"""The same experiment on JAX: trained there, read and published here."""

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from service.settings import ROOT
from training import fit
from training.datasets import Arrays
from training.experiments import EXPERIMENTS
from training.runs import Run, load_checkpoint

SHORT = replace(EXPERIMENTS["mnist-8-filters"], epochs=2, batch_size=50, held_out=100)
# One process for all that is asked of it: loading JAX and compiling for it is what takes long.
TRAIN = """
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
print(straight.origin.backend, straight.history[-1]["val_loss"])
print(*(run.history[-1]["loss"] for run in (straight, resumed)))
"""


@dataclass(frozen=True)
class OnJax:
    """What a process with that backend says of a run, and what it leaves."""

    arrays: Arrays
    checkpoint: Path
    backend: str
    validation_loss: float
    straight_loss: float
    resumed_loss: float


@pytest.fixture(scope="module")
def on_jax(few_arrays: dict[str, Arrays], tmp_path_factory: pytest.TempPathFactory) -> OnJax:
    arrays, folder = few_arrays["mnist"], tmp_path_factory.mktemp("jax")
    work = folder / "work"
    work.write_bytes(pickle.dumps((SHORT, arrays)))
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", TRAIN, work, folder],
        # What JAX compiled for one of the three runs does for the others.
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    backend, *losses = done.stdout.split()[-4:]
    return OnJax(arrays, folder / "straight.npz", backend, *map(float, losses))


def test_a_run_on_jax_is_read_here_and_answers_the_same(on_jax: OnJax) -> None:
    run = Run(SHORT, fit.build(SHORT))
    load_checkpoint(run, on_jax.checkpoint)
    assert run.origin is not None
    assert (on_jax.backend, run.origin.backend) == ("jax", "jax")
    held_out = on_jax.arrays.train_images[-100:], on_jax.arrays.train_labels[-100:]
    assert fit._validate(run, *held_out)["val_loss"] == pytest.approx(on_jax.validation_loss, rel=1e-4)


def test_a_run_on_jax_sees_every_batch_once_whether_it_was_stopped_or_not(on_jax: OnJax) -> None:
    assert on_jax.resumed_loss == pytest.approx(on_jax.straight_loss, rel=1e-4)
