from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.checkpoints import CheckpointError
from training.experiments import EXPERIMENTS
from training.fit import build
from training.runs import Run, load_checkpoint, save_checkpoint

NET = replace(EXPERIMENTS["mnist-8-filters"], epochs=3)


def test_other_words_load_the_same_weights_and_another_learning_rate_none(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    kept = Run(NET, build(NET), [{"epoch": 1, "seconds": 2.0}])
    save_checkpoint(kept, path)
    reworded = replace(NET, description="better words")
    run = Run(reworded, build(replace(NET, seed=2)))
    load_checkpoint(run, path)
    assert (run.experiment, run.history) == (reworded, kept.history)
    for one, other in zip(run.model.get_weights(), kept.model.get_weights(), strict=True):
        assert np.array_equal(one, other)
    with pytest.raises(CheckpointError, match=r"\(learning_rate: was 0\.001, is 0\.5\)"):
        load_checkpoint(replace(run, experiment=replace(NET, learning_rate=0.5)), path)
