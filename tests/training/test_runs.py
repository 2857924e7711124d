from pathlib import Path

import numpy as np
import pytest

from training.runs import CheckpointError, history_kept


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
