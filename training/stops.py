"""How a command is stopped: by Ctrl-C, or by whoever ends processes. Either way what is half done is tidied up.

Python drops an exception where nothing could catch it: in `__del__`, and in what is called at every collection of
garbage, as JAX has itself called. So a stop is remembered as well, and what takes long asks for it at every step.
"""

import signal
import sys
from types import FrameType


class TerminatedError(KeyboardInterrupt):
    """SIGTERM. Ctrl-C goes to every process of a terminal; this one to a single process, which has to pass it on."""


_STOPS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: TerminatedError}
_heard: list[type[KeyboardInterrupt]] = []


def listen() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, every time, and SIGTERM TerminatedError."""
    for number in _STOPS:
        # What a shell begins in the background ignores Ctrl-C, which is for what is in front.
        if number != signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    sys.unraisablehook = _dropped


def heed() -> None:
    """Raises the stop that was heard, if one was: what it raised then may have been dropped."""
    if _heard:
        raise _heard[-1]


def _stop(number: int, _: FrameType | None) -> None:
    _heard.append(_STOPS[signal.Signals(number)])
    heed()


def _dropped(what: "sys.UnraisableHookArgs") -> None:
    """Nothing is said of a stop: it is not lost, and the trace would be of whoever was at work."""
    if not issubclass(what.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(what)
