"""What only one process may do at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Not the one that another has just let go of, and taken away.
            is_ours = lock.exists() and os.path.samestat(os.fstat(file.fileno()), lock.stat())
        except BlockingIOError:
            is_ours = False
        if not is_ours:
            raise BusyError(f"another process is {doing}: wait for its end, or stop it")
        try:
            yield
        finally:
            lock.unlink()
