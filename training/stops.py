"""How a command is stopped: by Ctrl-C, or by whoever ends processes. Either way what is half done is tidied up."""

import signal


class TerminatedError(KeyboardInterrupt):
    """SIGTERM. Ctrl-C goes to every process of a terminal; this one to a single process, which has to pass it on."""


def terminate_as_ctrl_c() -> None:
    """SIGTERM raises TerminatedError from now on."""
    signal.signal(signal.SIGTERM, _terminated)


def _terminated(*_: object) -> None:
    raise TerminatedError
