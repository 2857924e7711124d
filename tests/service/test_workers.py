"""Several workers on one port."""

import asyncio
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
from uvicorn.config import STARTUP_FAILURE

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


def test_a_port_that_workers_are_to_share_is_taken_before_they_listen() -> None:
    with ExitStack() as stack:
        held = stack.enter_context(OwnQueue.held(socket.AF_INET, ("127.0.0.1", 0)))
        of_worker = stack.enter_context(pickle.loads(ForkingPickler.dumps(held)))  # noqa: S301 — as uvicorn sends it
        assert of_worker.getsockname() == held.getsockname()
        other = stack.enter_context(socket.socket())
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(held.getsockname())


# The application fails at whatever it is asked.
FAILING = """
from uvicorn import Config
from service import workers
workers.run(Config("math:floor", interface="asgi3", lifespan="on", port=0, workers=2))
"""


def test_what_is_left_of_one_process_that_has_just_stopped_is_no_obstacle() -> None:
    with ExitStack() as stack:
        before = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = before.getsockname()
        client = stack.enter_context(socket.create_connection(address))
        # Closed by the service first, the connection waits for what may still be under way.
        before.accept()[0].close()
        client.close()
        before.close()
        with pytest.raises(OSError, match="in use"):
            OwnQueue.bound(socket.AF_INET, address, reuse_address=False)
        held = stack.enter_context(OwnQueue.held(socket.AF_INET, address))
        of_worker = stack.enter_context(pickle.loads(ForkingPickler.dumps(held)))  # noqa: S301 — as uvicorn sends it
        of_worker.listen()
        stack.enter_context(socket.create_connection(address))


def test_workers_that_cannot_start_end_the_service_with_a_failure() -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", FAILING], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == STARTUP_FAILURE
    assert "failed to start" in done.stderr


def test_a_worker_that_finds_its_port_taken_says_so_and_ends_the_service(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as stranger, OwnQueue.bound(socket.AF_INET, ("127.0.0.1", 0)) as own:
        sent = ForkingPickler.dumps(own)
        address = own.getsockname()
        own.close()
        stranger.bind(address)
        stranger.listen()
        with pytest.raises(SystemExit) as ended:
            pickle.loads(sent)  # noqa: S301 — as uvicorn sends it
    assert ended.value.code == STARTUP_FAILURE
    assert f"cannot listen on 127.0.0.1:{address[1]}" in capsys.readouterr().err


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


async def test_workers_end_when_what_started_them_was_killed(artifacts: Path) -> None:
    async with served(artifacts, "--workers", "2") as server:
        transport = httpx.AsyncHTTPTransport(retries=10)
        async with httpx.AsyncClient(base_url=server.url, transport=transport, timeout=60) as client:
            assert (await client.get("/health/live")).status_code == 200
        workers = _children(server.process.pid)
        server.process.kill()
        assert server.process.stderr is not None
        async with asyncio.timeout(30):
            await server.process.stderr.read()  # which all of them hold: it ends with the last
            while not all(map(_is_over, workers)):  # noqa: ASYNC110 — it closes its files a little before its end
                await asyncio.sleep(0)


def _is_over(process: int) -> bool:
    """Nobody may have waited for what is left of it."""
    status = Path(f"/proc/{process}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


def _children(process: int) -> list[int]:
    found = [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    assert len(found) >= 2
    return found
