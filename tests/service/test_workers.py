"""Several workers on one port."""

import os
import pickle
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import httpx
import pytest

from service.settings import ROOT
from service.workers import OwnQueue
from tests.service.test_server import IMAGE, served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers share one socket")

CLIENTS = 64


def test_every_worker_gets_its_share_of_the_connections() -> None:
    with ExitStack() as stack:
        first = stack.enter_context(OwnQueue.bound(socket.AF_INET, ("127.0.0.1", 0)))
        second = stack.enter_context(pickle.loads(ForkingPickler.dumps(first)))  # noqa: S301 — as uvicorn sends it
        assert second.getsockname() == first.getsockname()
        for one in (first, second):
            one.listen(CLIENTS)
            one.setblocking(False)
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(first.getsockname()))
        shares = [_accepted(one, stack) for one in (first, second)]
        assert sum(shares) == CLIENTS
        # An even split in the mean; one below an eighth happens once in a billion times.
        assert min(shares) >= CLIENTS / 8


def _accepted(listener: socket.socket, stack: ExitStack) -> int:
    count = 0
    while True:
        try:
            stack.enter_context(listener.accept()[0])
        except BlockingIOError:
            return count
        count += 1


def test_a_port_that_is_taken_is_not_shared_with_a_stranger() -> None:
    with OwnQueue.bound(socket.AF_INET, ("127.0.0.1", 0)) as other:
        other.listen()
        port = str(other.getsockname()[1])
        command = [sys.executable, "-m", "service", "--workers", "2", "--port", port]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert done.returncode not in (0, -signal.SIGTERM)
    assert "address already in use" in done.stderr.lower()
    assert "Traceback" not in done.stderr


async def test_two_workers_answer_and_stop_cleanly(artifacts: Path) -> None:
    transport = httpx.AsyncHTTPTransport(retries=10)  # the workers listen a little after the port is known
    async with served(artifacts, "--workers", "2") as server:
        async with httpx.AsyncClient(base_url=server.url, transport=transport, timeout=60) as client:
            answer = await client.post("/predict/mnist?preprocess=none", content=IMAGE)
        assert answer.json()["label"] == "5"
        for process in _children(server.process.pid):
            assert os.sched_getscheduler(process) == os.SCHED_BATCH
        assert await server.stop() == 0
        assert not any("Traceback" in line for line in server.lines)


def _children(process: int) -> list[int]:
    found = [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    assert len(found) >= 2
    return found
