from pathlib import Path

import pytest

from training.locks import BusyError, held


def test_what_one_is_at_is_no_others_until_it_ends(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / ".lock"
    with held(lock, "training mine"):
        for _ in range(2):  # who is refused leaves the lock alone
            with (
                pytest.raises(
                    BusyError, match="another process is training mine: wait for its end, or stop it"
                ),
                held(lock, "training mine"),
            ):
                pass
    assert not lock.exists()
    with held(lock, "training mine"):
        pass


def test_a_failure_lets_go(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with pytest.raises(KeyboardInterrupt), held(lock, "training mine"):
        raise KeyboardInterrupt
    assert not lock.exists()
