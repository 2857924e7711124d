import errno
import fcntl
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


def test_a_lock_that_was_taken_away_meanwhile_fails_nothing_nor_is_anothers(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with held(lock, "training mine"):
        lock.unlink()
    with held(lock, "training mine"):
        lock.unlink()
        lock.write_text("another's")
    assert lock.read_text() == "another's"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_share_that_knows_no_locks_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, "there are none")

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(tmp_path / ".lock", "training mine"):
        (tmp_path / "done").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["done"]
