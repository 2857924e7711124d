"""What looking inside costs: the time of a feature-map PNG, and whether predictions suffer from it.

    python -m tests.benchmarks.feature_maps [--json FILE]

Two servers on one core, one of which has feature maps loaded, are loaded in turn from another core; the figures
are medians of the ratios of neighbouring rounds, so that a machine that slows down between them does not show.
Processor time a prediction is what a busy machine disturbs least.
"""

import asyncio
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from service.settings import ROOT
from tests.benchmarks.arguments import new_file, parser_of

MODEL = "mnist-baseline"
LAYERS = ("conv2d", "conv2d_1", "dense", "softmax")
PICTURES = 100
ROUNDS = 20
SECONDS = 1.0  # of one round
CONNECTIONS = 16


def main() -> None:
    """Print the figures; with --json also write them."""
    parser = parser_of(__doc__)
    parser.add_argument("--json", type=new_file, help="also write the figures here")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with server(cores[0]) as plain, server(cores[0]) as looking:
        os.sched_setaffinity(0, {cores[-1]})
        figures = pictures(looking) | throughput(plain, looking)
    for name, value in figures.items():
        print(f"{name:<52} {value:>10.3f}")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


class Server(NamedTuple):
    """A running service."""

    port: int
    pid: int

    def processor_seconds(self) -> float:
        """What it has used since it started (Linux)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Rate(NamedTuple):
    """Of one round."""

    per_second: float
    processor_us: float
    """a prediction"""


@contextmanager
def server(core: int) -> Iterator[Server]:
    """A service on one core, once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = ["taskset", "-c", str(core), sys.executable, "-m", "service", "--port", str(port)]
    environment = {**os.environ, "CONVSCOPE_LOG_LEVEL": "error", "CONVSCOPE_FEATURE_MAPS_IDLE": "3600"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)  # noqa: S603
    try:
        wait_for(port)
        yield Server(port, process.pid)
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int) -> None:
    """Until the service answers; a minute at most."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            get(port, "/health/ready")
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing answers on port {port}")


def get(port: int, path: str) -> bytes:
    """The body of a 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise http.client.HTTPException(f"{path} answered {answer.status}: {body[:200]!r}")
    return body


def pictures(one: Server) -> dict[str, float]:
    """Milliseconds from request to PNG, each of another test image: the graph runs every time."""
    figures = {}
    for layer in LAYERS:
        # The first open the graph, the test set and the font.
        times = [picture_ms(one.port, layer, sample) for sample in range(PICTURES + 3)][3:]
        figures[f"png of {layer}, median ms"] = statistics.median(times)
    before = one.processor_seconds()
    for sample in range(PICTURES, 3 * PICTURES):
        picture_ms(one.port, LAYERS[0], sample)
    used = one.processor_seconds() - before
    figures[f"png of {LAYERS[0]}, processor ms"] = 1000 * used / (2 * PICTURES)
    return figures


def picture_ms(port: int, layer: str, sample: int) -> float:
    """One picture."""
    began = time.perf_counter()
    get(port, f"/models/{MODEL}/feature-maps?layer={layer}&sample={sample}&format=png")
    return 1000 * (time.perf_counter() - began)


def throughput(plain: Server, looking: Server) -> dict[str, float]:
    """Predictions of both servers in turn, each first as often as the other."""
    request = prediction()
    for one in (plain, looking):
        measure(one, request)
    without: list[Rate] = []
    loaded: list[Rate] = []
    pair = [(plain, without), (looking, loaded)]
    for _ in range(ROUNDS):
        for one, rates in pair:
            rates.append(measure(one, request))
        pair.reverse()
    both = list(zip(without, loaded, strict=True))
    return {
        "predictions a second, without feature maps": statistics.median(one.per_second for one in without),
        "predictions a second, feature maps loaded": statistics.median(one.per_second for one in loaded),
        "ratio of predictions a second": statistics.median(b.per_second / a.per_second for a, b in both),
        "ratio of predictions a processor second": statistics.median(
            a.processor_us / b.processor_us for a, b in both
        ),
    }


def measure(one: Server, request: bytes) -> Rate:
    """One round."""
    before, began = one.processor_seconds(), time.perf_counter()
    count = asyncio.run(load(one.port, request, SECONDS))
    seconds = time.perf_counter() - began
    return Rate(count / seconds, 1e6 * (one.processor_seconds() - before) / count)


def prediction() -> bytes:
    """One whole request: a test digit as PNG."""
    with np.load(ROOT / "artifacts" / "datasets" / "mnist" / "test.npz") as arrays:
        digit = arrays["images"][0, ..., 0]
    file = BytesIO()
    Image.fromarray(digit).save(file, "PNG")
    body = file.getvalue()
    lines = (
        f"POST /predict/{MODEL} HTTP/1.1",
        "Host: x",
        "Content-Type: image/png",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


async def load(port: int, request: bytes, seconds: float) -> int:
    """Answers over some connections, each of which always waits for its answer."""
    until = time.perf_counter() + seconds
    return sum(await asyncio.gather(*(ask(port, request, until) for _ in range(CONNECTIONS))))


async def ask(port: int, request: bytes, until: float) -> int:
    """One connection; counts the answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while time.perf_counter() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise http.client.HTTPException(head.decode())
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        count += 1
    writer.close()
    return count


if __name__ == "__main__":
    main()
