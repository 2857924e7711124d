"""Whether whoever asked for something still waits for it."""

from collections.abc import Callable

Wanted = Callable[[], bool]
"""Asked just before the work, perhaps by a thread"""


def always() -> bool:
    return True


class CallerGoneError(Exception):
    """The one who asked is no longer there to be answered; what they asked for was not done."""
