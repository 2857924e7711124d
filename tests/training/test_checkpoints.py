import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.checkpoints import CheckpointError, history_kept
from training.experiments import EXPERIMENTS

NET = replace(EXPERIMENTS["mnist-8-filters"], epochs=3)


def test_no_checkpoint_holds_no_epochs(tmp_path: Path) -> None:
    assert history_kept(tmp_path / "none.npz") == []


@pytest.mark.parametrize("kept", [0, 10, 200])
def test_a_damaged_checkpoint_is_named_with_the_way_out(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "net.npz"
    np.savez(path, about=np.array("{}"), state_0=np.zeros(100))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"net\.npz is damaged .*--restart"):
        history_kept(path)


def test_the_way_out_for_another_seeds_run_leaves_the_experiments_own(tmp_path: Path) -> None:
    path = tmp_path / "net-seed-7.npz"
    path.write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="train with --seed 7 --restart, which discards it"):
        history_kept(path)


def test_a_file_that_is_no_checkpoint_is_damaged_too(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    np.savez(path, something=np.zeros(3))
    with pytest.raises(CheckpointError, match=r"net\.npz is damaged"):
        history_kept(path)


def keep(path: Path, recorded: dict[str, Any]) -> list[dict[str, float]]:
    """What a checkpoint says of itself after an epoch."""
    history = [{"epoch": 1, "seconds": 2.0}]
    np.savez(path, about=np.array(json.dumps({"experiment": recorded, "history": history})))
    return history


def test_what_trains_nothing_may_change_after_the_training(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    history = keep(path, NET.record())
    changed = replace(NET, description="better words", calibration="entropy")
    assert history_kept(path, changed) == history


def test_a_field_that_came_later_had_its_default(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    recorded = NET.record()
    del recorded["easy"]
    assert keep(path, recorded) == history_kept(path, NET)
    with pytest.raises(CheckpointError, match=r"easy: was None, is \[0\.7, 0\.9\]"):
        history_kept(path, replace(NET, easy=(0.7, 0.9)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"learning_rate": 0.5}, "(learning_rate: was 0.001, is 0.5)"),
        ({"epochs": 4, "description": "another"}, "(epochs: was 3, is 4)"),
        (
            {"optimiser": "sgd", "options": {"filters": 9}},
            "(options: was {'filters': 8}, is {'filters': 9}; optimiser: was 'adam', is 'sgd')",
        ),
    ],
)
def test_other_settings_are_named_and_to_set_them_back_comes_before_to_delete(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    path = tmp_path / "net.npz"
    keep(path, NET.record())
    assert history_kept(path)  # whoever names no experiment is not refused
    with pytest.raises(CheckpointError) as refused:
        history_kept(path, replace(NET, **change))
    assert str(refused.value) == (
        f"{path} was made with other settings {told}: set them back to go on with it, delete it, "
        "or train with --restart, which discards it"
    )
