"""The service and the two no-ops as processes."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.serving.bench import DIGITS, FOLDER, Bench
from tests.benchmarks.serving.child import Child, free_port, started, wait_for
from tests.benchmarks.serving.messages import Answer, Request, encoded, image, label_of, test_images

NO_OPS = {"bare ASGI app, uvicorn": "bare", "FastAPI no-op": "framework"}
LIMIT = 1800.0  # seconds that a server may live
START = 60.0  # seconds that it may take to answer


def digit(path: str = f"/predict/{DIGITS}") -> Request:
    """The request of the comparison: the first test image, a seven, as PNG."""
    return image(path, encoded(test_images("mnist", 1)[0]))


def photo(path: str = "/predict/cifar10") -> Request:
    return image(path, encoded(test_images("cifar10", 1)[0]))


def is_seven(answer: Answer) -> bool:
    return answer.status == 200 and label_of(answer.body) == "7"


def is_answered(answer: Answer) -> bool:
    return answer.status == 200


@contextmanager
def service(
    bench: Bench, *, cores: list[int] | None = None, limit: float = LIMIT, **settings: str
) -> Iterator[Child]:
    """This project as a user starts it, once it predicts. `settings` are environment variables."""
    port, began = free_port(), time.monotonic()
    with started(
        "this project",
        [sys.executable, "-m", "service", "--port", str(port)],
        port=port,
        cores=cores or [bench.cores.server],
        logs=FOLDER / "logs",
        limit=limit,
        environment={"CONVSCOPE_LOG_LEVEL": "warning", **settings},
    ) as child:
        wait_for(child, digit(), is_seven, began=began, seconds=START)
        yield child


@contextmanager
def no_op(bench: Bench, name: str) -> Iterator[Child]:
    """One of NO_OPS, once it answers."""
    port, began = free_port(), time.monotonic()
    command = [sys.executable, "-m", "uvicorn", f"{__package__}.apps:{NO_OPS[name]}", "--factory"]
    command += ["--port", str(port), "--no-access-log", "--log-level", "warning", "--no-server-header"]
    cores = [bench.cores.server]
    with started(name, command, port=port, cores=cores, logs=FOLDER / "logs", limit=LIMIT) as child:
        wait_for(child, digit(), is_answered, began=began, seconds=START)
        yield child
