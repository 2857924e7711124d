"""What the benchmarks import and serving does without."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from training.missing import OF_TRAINING, advice

_BEYOND_SERVING = OF_TRAINING | {"httpx"}


@contextmanager
def needed() -> Iterator[None]:
    """Exits with one line, saying what to do, where something that is imported within was not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _BEYOND_SERVING:
            raise
        sys.exit(advice(error.name))
