"""`python -m service`: the settings as arguments, and uvicorn with them."""

import argparse
import gc
import os
import sys
from typing import Any

import uvicorn
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service import workers
from service.protocol import http_protocol
from service.settings import Settings


def main() -> None:
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit("\n".join(["the settings cannot be used:", *map(_in_words, error.errors())]))
    arguments = _arguments(settings)
    gc.disable()  # a start makes little garbage and much to look through; the application's lifespan enables it
    # Every worker reads its settings from the environment.
    os.environ["CONVSCOPE_WORKERS"] = str(arguments.workers)
    options: dict[str, Any] = {
        "app": "service.main:app",
        "host": arguments.host,
        "port": arguments.port,
        "workers": arguments.workers,
        "http": http_protocol(),
        "proxy_headers": False,  # no answer depends on a client's address or on how it got here
        "access_log": False,  # the service writes its own when it is asked to
        "log_config": _logging(settings.log_level.upper()),
        "server_header": False,
        "timeout_graceful_shutdown": max(1, round(settings.drain)),
    }
    if arguments.workers > 1 and sys.platform == "linux":
        workers.run(uvicorn.Config(**options))
    else:
        uvicorn.run(**options)


def _arguments(settings: Settings) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m service", description="Serve the models of artifacts/.")
    parser.add_argument("--host", default=settings.host, help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=settings.port, help="TCP port (default %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=settings.workers, help="processes (default %(default)s)"
    )
    return parser.parse_args()


def _in_words(error: ErrorDetails) -> str:
    field = str(error["loc"][0])
    name = field if field.isupper() else f"CONVSCOPE_{field.upper()}"
    return f"  {name}={error['input']}: {error['msg'].removeprefix('Value error, ')}"


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
        },
    }


if __name__ == "__main__":
    main()
