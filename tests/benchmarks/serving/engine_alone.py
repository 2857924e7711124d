"""The engine's own best: images a second past HTTP, decoding and queue, on the service's core, with its settings.

A child process keeps the models open and measures whenever it is told to, so that its rounds can take turns with
the server's.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.app import create_app
from service.model import Model
from service.settings import ROOT, Settings
from tests.benchmarks.serving.bench import Bench
from tests.benchmarks.serving.child import inherited, on_cores
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import test_images

ROWS = tuple(2**power for power in range(9))
SWEEP_SECONDS = 0.1  # for each batch size
LONG_RUN = 0.25  # seconds; after so long a run none is larger: what a run costs besides its rows is a thousandth of it


class Best(NamedTuple):
    """Of one round."""

    per_second: float
    """images"""
    processor_us: float
    """an image"""


class Engine:
    """The parent's end of the child, for one of its models."""

    def __init__(self, process: "subprocess.Popen[str]", model: str) -> None:
        self._process = process
        self._model = model
        found = self._heard()
        self.name = str(found["engine"])
        self.sweep = {int(rows): float(rate) for rows, rate in found["sweep"].items()}
        """images a second by batch size"""

    @property
    def rows(self) -> int:
        """The batch size that is fastest."""
        return max(self.sweep, key=self.sweep.__getitem__)

    def measure(self, seconds: float) -> Best:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._model} {self.rows} {seconds}\n")
        self._process.stdin.flush()
        return Best(**self._heard())

    def _heard(self) -> dict[str, Any]:
        output: IO[str] | None = self._process.stdout
        line = output.readline() if output else ""
        if not line:
            raise BenchmarkError("the engine alone could not be measured")
        heard: dict[str, Any] = json.loads(line)
        return heard


@contextmanager
def engines_alone(bench: Bench, models: Sequence[str]) -> Iterator[dict[str, Engine]]:
    """Of each model, while the context lasts; the child ends with its parent, whose end closes its input."""
    command = ["timeout", "1800", *on_cores([bench.cores.server])]
    command += [sys.executable, "-m", "tests.benchmarks.serving.engine_alone", *models]
    environment = {**inherited(), "CONVSCOPE_LOG_LEVEL": "error"}
    with subprocess.Popen(  # noqa: S603
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield {model: Engine(process, model) for model in models}
        finally:
            process.terminate()


def main() -> None:
    """The child: says of each model what each batch size gives, then measures for each line it is sent, until there
    are no more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="model", help="a model or an alias")
    asyncio.run(_serve(parser.parse_args().models))


async def _serve(names: list[str]) -> None:
    app = create_app(Settings(), owns_process=True)
    async with app.router.lifespan_context(app):
        find = app.state.service.store.snapshot.find
        _answer_orders({name: find(name) for name in names})


def _answer_orders(models: dict[str, Model]) -> None:
    images = {name: test_images(model.manifest.dataset, max(ROWS)) for name, model in models.items()}
    for name, model in models.items():
        _print({"engine": model.engine.name, "sweep": _sweep(model, images[name])})
    for line in sys.stdin:
        name, rows, seconds = line.split()
        _print(_best(models[name], images[name][: int(rows)], float(seconds))._asdict())


def _sweep(model: Model, images: NDArray[np.uint8]) -> dict[int, float]:
    """Images a second by batch size."""
    found: dict[int, float] = {}
    for rows in ROWS:
        found[rows] = _best(model, images[:rows], SWEEP_SECONDS).per_second
        if rows / found[rows] > LONG_RUN:
            break
    return found


def _best(model: Model, images: NDArray[np.uint8], seconds: float) -> Best:
    model.infer(images)
    runs, used, began = 0, time.process_time(), time.perf_counter()
    while (now := time.perf_counter()) < began + seconds:
        model.infer(images)
        runs += 1
    return Best(runs * len(images) / (now - began), 1e6 * (time.process_time() - used) / (runs * len(images)))


def _print(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
