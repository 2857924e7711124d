"""What only one process may do at a time."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


class BusyError(Exception):
    """Another process is at it; the message says what it does."""


@contextmanager
def held(lock: Path, doing: str) -> Iterator[None]:
    """Keeps other processes from the same meanwhile, by a file that is there as long as this goes on.

    Raises BusyError where one is at it already: it is `doing` that, such as "training mine".
    """
    try:
        import fcntl  # noqa: PLC0415 — not everywhere
    except ImportError:
        yield
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(_busy(doing)) from None
        except OSError as error:  # a share that knows no locks
            if error.errno not in _NO_LOCKS:
                raise
        # Not the one that another has just let go of, and taken away.
        if not _is_at(file, lock):
            raise BusyError(_busy(doing))
        try:
            yield
        finally:
            if _is_at(file, lock):
                lock.unlink()


def _is_at(file: IO[str], lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), lock.stat())
    except FileNotFoundError:
        return False


def _busy(doing: str) -> str:
    return f"another process is {doing}: wait for its end, or stop it"
