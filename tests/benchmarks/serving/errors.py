"""What can go wrong while measuring."""

from collections.abc import Iterator
from contextlib import contextmanager


class BenchmarkError(Exception):
    """A server did not start, or gave another answer than it must: there is nothing to measure."""


@contextmanager
def about(what: str) -> Iterator[None]:
    """Names what could not be measured to whoever reads why."""
    try:
        yield
    except BenchmarkError as error:
        raise BenchmarkError(f"{what}: {error}") from error


@contextmanager
def measuring() -> Iterator[None]:
    """Whatever else goes wrong is a BenchmarkError as well: a server that dies on the way, an answer that is none, and
    a mistake of the benchmark itself must not take with them what was measured before."""
    try:
        yield
    except Exception as error:
        if _while_interrupted(error):
            raise KeyboardInterrupt from error
        if isinstance(error, BenchmarkError):
            raise
        raise BenchmarkError(f"{type(error).__name__}: {error}") from error


def _while_interrupted(error: BaseException | None) -> bool:
    """Whether it came of tidying up after an interruption, which would be forgotten with it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
