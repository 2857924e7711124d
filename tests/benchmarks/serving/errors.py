"""What can go wrong while measuring."""

import http.client
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


class BenchmarkError(Exception):
    """A server did not start, or gave another answer than it must: there is nothing to measure."""


@contextmanager
def measuring() -> Iterator[None]:
    """What a server that dies on the way makes of requests, pipes and loads is a BenchmarkError as well."""
    try:
        yield
    except (OSError, http.client.HTTPException, subprocess.SubprocessError) as error:
        raise BenchmarkError(f"{type(error).__name__}: {error}") from error
