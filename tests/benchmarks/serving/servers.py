"""The service and the two no-ops as processes."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.benchmarks.serving.bench import DIGITS, FOLDER, Bench
from tests.benchmarks.serving.child import Child, free_port, started, wait_for
from tests.benchmarks.serving.messages import (
    Answer,
    Request,
    encoded,
    image,
    label_of,
    labels_of,
    output_shape,
    test_images,
)

NO_OPS = {"bare ASGI app, uvicorn": "bare", "FastAPI no-op": "framework"}
LIMIT = 1800.0  # seconds that a server may live
START = 60.0  # seconds that it may take to answer
CLASSES = 10
FLOAT32 = 4  # bytes


def digit(path: str = f"/predict/{DIGITS}") -> Request:
    """The request of the comparison: the first test image, a seven, as PNG."""
    return image(path, encoded(test_images("mnist", 1)[0]))


def photo(path: str = "/predict/cifar10") -> Request:
    """The first test image of the photographs, a cat, as PNG."""
    return image(path, encoded(test_images("cifar10", 1)[0]))


def is_seven(answer: Answer) -> bool:
    return answer.status == 200 and label_of(answer.body) == "7"


def is_cat(answer: Answer) -> bool:
    return answer.status == 200 and label_of(answer.body) == "cat"


def are_labelled(rows: int) -> Callable[[Answer], bool]:
    """Whether a batch has a label for each of so many images: one that cannot be read is part of an answer of 200."""
    return lambda answer: answer.status == 200 and len(labels_of(answer.body)) == rows


def are_probabilities(rows: int) -> Callable[[Answer], bool]:
    """Whether a tensor has as many rows, and bytes for ten classes in each."""
    return lambda answer: (
        answer.status == 200
        and output_shape(answer.body) == [rows, CLASSES]
        and len(answer.body) > rows * CLASSES * FLOAT32
    )


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
        environment={"CONVSCOPE_WORKERS": "1", "CONVSCOPE_LOG_LEVEL": "warning", **settings},
    ) as child:
        wait_for(child, digit(), is_seven, began=began, seconds=START)
        yield child


@contextmanager
def no_op(bench: Bench, name: str) -> Iterator[Child]:
    """One of NO_OPS, once it answers."""
    port, began = free_port(), time.monotonic()
    command = [sys.executable, "-m", "uvicorn", f"{__package__}.apps:{NO_OPS[name]}", "--factory"]
    command += ["--port", str(port), "--no-access-log", "--log-level", "warning", "--no-server-header"]
    command += ["--no-proxy-headers"]  # nor does the service look at them
    cores = [bench.cores.server]
    with started(name, command, port=port, cores=cores, logs=FOLDER / "logs", limit=LIMIT) as child:
        wait_for(child, digit(), is_answered, began=began, seconds=START)
        yield child
