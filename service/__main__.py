"""`python -m service`: the settings as arguments, and uvicorn with them."""

import argparse
import gc
import os
import signal
import sys
from contextlib import suppress
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

import uvicorn
from pydantic import ValidationError

from service import workers
from service.protocol import http_protocol
from service.settings import Settings, in_words

NEAR = 0.75  # of difflib's 1: a letter or two
MOST_FILES = 1024 * 1024  # more than there will be clients; some systems allow a thousand times that
_PREFIX = "CONVSCOPE_"


def main() -> None:
    _open_standard_files()
    # Every worker reads its settings from the environment, so that is where arguments go: checked like the others.
    arguments = {name: value for name, value in vars(_parser().parse_args()).items() if value is not None}
    os.environ.update({f"CONVSCOPE_{name.upper()}": value for name, value in arguments.items()})
    try:
        settings = Settings()
    except ValidationError as error:
        words = (f"  {one}" for one in in_words(error, arguments))
        sys.exit("\n".join(["the settings cannot be used:", *words]))
    for hint in _misspelt():
        sys.stderr.write(f"warning: {hint}\n")
    _allow_files()
    gc.disable()  # a start makes little garbage and much to look through; the application's lifespan enables it
    options: dict[str, Any] = {
        "app": "service.main:app",
        "host": settings.host,
        "port": settings.port,
        "workers": settings.workers,
        "http": http_protocol(),
        "loop": _loop(settings),
        "ws": "none",  # nothing here speaks it
        "proxy_headers": False,  # no answer depends on a client's address or on how it got here
        "access_log": False,  # the service writes its own when it is asked to
        "log_config": _logging(settings.log_level.upper()),
        "server_header": False,
        "timeout_keep_alive": settings.keep_alive,
        "timeout_graceful_shutdown": max(1, round(settings.drain)),
    }
    if settings.workers == 1:
        _stop_on_hangup()
        workers.run_one(uvicorn.Config(**options))
    elif sys.platform == "linux":
        workers.run_several(uvicorn.Config(**options))
    else:
        uvicorn.run(**options)


def _open_standard_files() -> None:
    """Those that whoever starts this has closed lead nowhere. What is opened next would get their numbers, and what is
    started here a connection or a model's file to write to; uvloop's library does not even start it."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)
    if sys.stderr is None:  # Python's own, where there was none
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _allow_files() -> None:
    """As many as this process may have open, and those it starts: a connection is one. What they get unless they ask
    is often 1,024, of which a thousand idle clients leave none for a model's files."""
    try:
        import resource  # noqa: PLC0415 — not everywhere
    except ImportError:
        return
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = MOST_FILES if most == resource.RLIM_INFINITY else min(most, MOST_FILES)
    if now != resource.RLIM_INFINITY and now < enough:
        with suppress(OSError, ValueError):  # a sandbox may forbid it, and a system have a limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))


def _stop_on_hangup() -> None:
    """As on any other signal to stop: what was accepted is answered. Of several workers the supervisor hears it."""
    hangup = getattr(signal, "SIGHUP", None)  # not everywhere
    if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:  # nohup ignores it
        signal.signal(hangup, lambda *_: signal.raise_signal(signal.SIGTERM))


def _loop(settings: Settings) -> str:
    """Elsewhere workers share a socket, and one that takes all that wait would leave the others none."""
    shared = settings.workers > 1 and sys.platform != "linux"
    return "auto" if shared or find_spec("uvloop") is None else "service.acceptor:Loop"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serve the models of artifacts/.",
        epilog="Every other setting is an environment variable, CONVSCOPE_<NAME>; README.md lists those that matter.",
    )
    for name, what in {"host": "address to listen on", "port": "TCP port", "workers": "processes"}.items():
        default = Settings.model_fields[name].default
        parser.add_argument(f"--{name}", help=f"{what} (default {default}, or CONVSCOPE_{name.upper()})")
    return parser


def _misspelt() -> list[str]:
    """Variables that are nearly those of a setting. Of others with the same beginning there may be many: some systems
    make them for a service of this name."""
    there = [name.upper() for name in Settings.model_fields]
    asked = [name.removeprefix(_PREFIX) for name in sorted(os.environ) if name.startswith(_PREFIX)]
    near = [(name, get_close_matches(name, there, 1, NEAR)) for name in asked if name not in there]
    return [f"{_PREFIX}{name} is no setting; {_PREFIX}{found[0]} is" for name, found in near if found]


def _logging(level: str) -> dict[str, Any]:
    """Plain lines on standard error, one an event, the same for uvicorn and the service."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "loggers": {
            "uvicorn": {"handlers": ["stderr"], "level": level, "propagate": False},
            "convscope": {"handlers": ["stderr"], "level": level, "propagate": False},
            # Whoever asks for it has it, however little else is to be told.
            "convscope.access": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        },
    }


if __name__ == "__main__":
    main()
