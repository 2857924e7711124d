"""Whether whoever asked for something still waits for it."""

from collections.abc import Callable

Wanted = Callable[[], bool]
"""Asked just before the work, perhaps by a thread"""


def always() -> bool:
    return True


class CallerGoneError(Exception):
    """The one who asked is no longer there to be answered; what they asked for was not done."""

    def forget(self) -> None:
        """Where it has come from. The traceback holds the frames that it passed: one of them has the future that it is
        the outcome of, and so what was asked for, up to 64 MiB, would stay until the garbage collector comes by."""
        self.__traceback__ = None
