"""Several workers on one port."""

import asyncio
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import httpx
import pytest
from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE

from service.settings import ROOT
from service.workers import STARTING, OwnQueue, Supervisor, Worker, alone, bind_each, run_one
from tests.service.test_server import IMAGE, served
from tests.service.test_settings import started

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers share one socket")

Bind = Callable[[int, Any], socket.socket]

CLIENTS = 64


def in_worker(one: OwnQueue) -> OwnQueue:
    """What a worker gets of it. The worker here is this process, and so its own parent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getppid", os.getpid)
        of_worker = pickle.loads(ForkingPickler.dumps(one))  # noqa: S301 — as uvicorn sends it
    assert isinstance(of_worker, OwnQueue)
    assert of_worker.getsockname() == one.getsockname()
    return of_worker


def test_every_worker_gets_its_share_of_the_connections() -> None:
    with ExitStack() as stack:
        first = stack.enter_context(OwnQueue.bound(socket.AF_INET, ("127.0.0.1", 0)))
        second = stack.enter_context(in_worker(first))
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


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_not_shared_with_a_stranger(workers: str) -> None:
    with OwnQueue.bound(socket.AF_INET, ("127.0.0.1", 0)) as other:
        other.listen()
        port = str(other.getsockname()[1])
        done = started("--workers", workers, "--port", port)
    assert done.returncode == STARTUP_FAILURE
    [line] = done.stderr.splitlines()
    assert line.endswith(f": cannot listen on 127.0.0.1:{port}: Address already in use")


def test_a_port_that_workers_are_to_share_is_taken_before_they_listen() -> None:
    with ExitStack() as stack:
        held = stack.enter_context(OwnQueue.held(socket.AF_INET, ("127.0.0.1", 0)))
        stack.enter_context(in_worker(held)).listen()
        other = stack.enter_context(socket.socket())
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(held.getsockname())


BINDS = pytest.mark.parametrize("bind", [alone, OwnQueue.held])


@BINDS
@pytest.mark.parametrize("other", [alone, OwnQueue.held])
def test_of_two_services_that_start_at_the_same_moment_one_is_refused(bind: Bind, other: Bind) -> None:
    with bind(socket.AF_INET, ("127.0.0.1", 0)) as first, pytest.raises(OSError, match="in use"):
        other(socket.AF_INET, first.getsockname())


def test_who_comes_while_workers_listen_is_refused() -> None:
    with OwnQueue.held(socket.AF_INET, ("127.0.0.1", 0)) as held, in_worker(held) as of_worker:
        of_worker.listen()
        for bind in (alone, OwnQueue.held):
            with pytest.raises(OSError, match="in use"):
                bind(socket.AF_INET, held.getsockname())


@BINDS
def test_every_interface_is_that_of_both_families(bind: Bind) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with ExitStack() as stack:
        [one] = [stack.enter_context(one) for one in bind_each("::", 0, bind)]
        one.listen()
        for host in ("127.0.0.1", "::1"):
            stack.enter_context(socket.create_connection((host, one.getsockname()[1]), timeout=10))


def test_all_addresses_of_a_name_have_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [(socket.AF_INET, 1, 6, "", (address, 0)) for address in ("127.0.0.1", "192.0.2.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*there, there[0]])
    with ExitStack() as stack:
        bound = [stack.enter_context(one).getsockname() for one in bind_each("name", 0, alone)]
    # The second is of no interface here.
    assert [address for address, _ in bound] == ["127.0.0.1", "127.0.0.2"]
    assert len({port for _, port in bound}) == 1
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: there[1:2])
    with pytest.raises(OSError, match="assign requested address"):
        bind_each("name", 0, alone)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_host_that_is_none_is_told_by_its_name_before_any_model_is_opened(workers: str) -> None:
    done = started("--host", f"{'a' * 64}.example", "--workers", workers, PORT="8000")
    assert done.returncode == STARTUP_FAILURE
    [line] = done.stderr.splitlines()
    assert line.endswith(f": cannot listen on {'a' * 64}.example:8000: this is no name of a host")


def test_one_process_that_finds_its_port_taken_when_it_is_to_listen_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with OwnQueue.bound(socket.AF_INET, ("127.0.0.1", 0)) as own:
        port = own.getsockname()[1]
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stranger.bind(own.getsockname())
            stranger.listen()
            monkeypatch.setattr("service.workers.bind_each", lambda *_: [own])
            with pytest.raises(SystemExit) as ended:
                run_one(
                    Config(
                        "math:floor",
                        interface="asgi3",
                        lifespan="off",
                        loop="asyncio",
                        port=port,
                        log_config=None,
                    )
                )
        assert ended.value.code == STARTUP_FAILURE
        [told] = [record for record in caplog.records if record.levelname == "ERROR"]
        assert told.getMessage() == f"cannot listen on 127.0.0.1:{port}: Address already in use"


# The application fails at whatever it is asked.
FAILING = """
from uvicorn import Config
from service import workers
workers.run_several(Config("math:floor", interface="asgi3", lifespan="on", port=0, workers=2))
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
            stack.enter_context(socket.socket()).bind(address)
        held = stack.enter_context(OwnQueue.held(socket.AF_INET, address))
        of_worker = stack.enter_context(in_worker(held))
        of_worker.listen()
        stack.enter_context(socket.create_connection(address))


def left_by(before: socket.socket) -> Any:
    """The address of a service that stopped, with a connection that was its first and that it closed itself."""
    with before:
        before.listen()
        address = before.getsockname()
        with socket.create_connection(address):
            before.accept()[0].close()
    return address


@pytest.mark.parametrize("bind", [alone, OwnQueue.held])
def test_who_came_as_soon_as_one_process_listened_is_no_obstacle_to_the_next_and_a_second_one_is(
    bind: Bind,
) -> None:
    with ExitStack() as stack:
        address = left_by(alone(socket.AF_INET, ("127.0.0.1", 0)))
        with pytest.raises(OSError, match="in use"):
            stack.enter_context(socket.socket()).bind(address)
        stack.enter_context(bind(socket.AF_INET, address))
        with pytest.raises(OSError, match="in use"):
            stack.enter_context(bind(socket.AF_INET, address))


def test_a_supervisor_that_is_told_to_stop_waits_for_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", told.__setitem__)
    for number in (signal.SIGINT, signal.SIGTERM):
        supervisor = Supervisor(Config("math:floor", workers=2), sockets=[])
        told[number](number, None)
        assert supervisor.should_exit.is_set()
        # Of a process that was not even started.
        monkeypatch.setattr("multiprocessing.context.SpawnProcess.is_alive", lambda _: True)
        assert not Worker(supervisor.config, []).wait_until_ready(5, supervisor.should_exit)


def test_a_supervisor_that_was_told_to_stop_while_it_looked_after_workers_asks_none_whether_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    supervisor = Supervisor(Config("math:floor", workers=2), sockets=[])

    class DyingOfCtrlC:
        def is_alive(self, timeout: float) -> bool:
            supervisor.should_exit.set()
            return True

        def is_ready(self) -> bool:
            raise AssertionError

    dying: Any = DyingOfCtrlC()
    supervisor.processes = [dying]
    supervisor.keep_subprocess_alive()


def test_of_a_worker_that_has_died_no_answer_is_waited_for() -> None:
    worker = Worker(Config("math:floor"), [])
    worker.start()
    worker.process.kill()
    worker.process.join()
    assert worker.parent_conn.poll(0)  # its end
    assert not worker.is_ready()


def test_a_worker_may_be_given_a_month_to_stop() -> None:
    worker = Worker(Config("math:floor", timeout_graceful_shutdown=30 * 86_400), [])
    worker.start()
    worker.terminate()
    worker.process.kill()
    worker.join()
    assert worker.exitcode is not None


async def test_nor_what_is_left_of_a_service(artifacts: Path) -> None:
    port = "0"
    for workers in ("1", "2", "1"):
        async with served(artifacts, "--workers", workers, "--port", port) as server:
            port = str(server.port)
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
                await client.get("/health/live")
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n")
            await reader.read()  # to its end: closed by the service first
            writer.close()
            await server.stop()
    with pytest.raises(OSError, match="in use"), socket.socket() as other:
        other.bind(("127.0.0.1", int(port)))


def test_one_process_that_cannot_start_does_not_say_that_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "uvicorn.error")
    failing = Config("math:floor", interface="asgi3", lifespan="on", loop="asyncio", port=0, log_config=None)
    with pytest.raises(SystemExit) as ended:
        run_one(failing)
    assert ended.value.code == STARTUP_FAILURE
    said = [record.getMessage() for record in caplog.records]
    assert "Application startup failed. Exiting." in said
    assert not [one for one in said if "running on" in one]


def test_workers_that_cannot_start_end_the_service_with_a_failure() -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", FAILING], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == STARTUP_FAILURE
    assert "failed to start" in done.stderr


def test_a_worker_that_finds_its_port_taken_says_so_and_ends_the_service(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as stranger, OwnQueue.bound(socket.AF_INET, ("127.0.0.1", 0)) as own:
        sent = ForkingPickler.dumps(own)
        address = own.getsockname()
        own.close()
        stranger.bind(address)
        stranger.listen()
        monkeypatch.setattr(os, "getppid", os.getpid)
        with pytest.raises(SystemExit) as ended:
            pickle.loads(sent)  # noqa: S301 — as uvicorn sends it
    assert ended.value.code == STARTUP_FAILURE
    assert f"cannot listen on 127.0.0.1:{address[1]}" in capsys.readouterr().err


async def test_two_workers_answer_and_stop_cleanly(artifacts: Path) -> None:
    async with served(artifacts, "--workers", "2") as server:
        async with httpx.AsyncClient(
            base_url=server.url, timeout=60
        ) as client:  # it is said to run: it answers
            answer = await client.post("/predict/mnist?preprocess=none", content=IMAGE)
        assert answer.json()["label"] == "5"
        for process in _children(server.process.pid):
            assert os.sched_getscheduler(process) == os.SCHED_BATCH
        assert await server.stop() == 0
        assert not any("Traceback" in line for line in server.lines)


async def test_ctrl_c_while_workers_start_says_no_more_than_that(artifacts: Path) -> None:
    """As from a terminal: all processes hear it, workers that are still being imported too."""
    environment = {**os.environ, "CONVSCOPE_ARTIFACTS": str(artifacts), "PORT": "0"}
    command = [sys.executable, "-m", "service", "--workers", "2"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    async with asyncio.timeout(60):
        while not _importing(process.pid):  # noqa: ASYNC110 — nobody tells
            await asyncio.sleep(0)
        os.killpg(process.pid, signal.SIGINT)
        _, said = await process.communicate()
    assert process.returncode == 0
    assert b"Received SIGINT" in said
    assert b"Traceback" not in said


async def test_workers_end_when_what_started_them_was_killed(artifacts: Path) -> None:
    async with served(artifacts, "--workers", "2") as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            assert (await client.get("/health/live")).status_code == 200
        workers = _children(server.process.pid)
        server.process.kill()
        assert server.process.stderr is not None
        async with asyncio.timeout(30):
            await server.process.stderr.read()  # which all of them hold: it ends with the last
            while not all(map(_is_over, workers)):  # noqa: ASYNC110 — it closes its files a little before its end
                await asyncio.sleep(0)


def test_a_worker_ends_whose_supervisor_was_killed_before_it_could_ask_to_be_told() -> None:
    with OwnQueue.bound(socket.AF_INET, ("127.0.0.1", 0)) as own:
        sent = ForkingPickler.dumps(own)
    # This process has another parent than the one that sent it.
    with pytest.raises(SystemExit):
        pickle.loads(sent)  # noqa: S301 — as uvicorn sends it


IMPATIENT = """
from service import workers
from service.__main__ import main
workers.STOPPING = 0.1
main()
"""


@pytest.mark.parametrize("renewed_first", [False, True])
async def test_a_worker_that_hangs_keeps_the_others_neither_from_stopping_nor_from_being_renewed(
    artifacts: Path, renewed_first: bool
) -> None:
    program = ("-c", IMPATIENT)
    async with (
        served(artifacts, "--workers", "2", program=program, CONVSCOPE_DRAIN="0") as server,
        asyncio.timeout(20),
    ):
        while len(workers := _workers(server.process.pid)) < 2:  # noqa: ASYNC110 — nobody tells
            await asyncio.sleep(0.01)
        os.kill(workers[0], signal.SIGSTOP)
        try:
            if renewed_first:
                server.process.send_signal(signal.SIGHUP)
                while not all(map(_is_over, workers)):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert await server.stop() == 0
        finally:
            with suppress(ProcessLookupError):
                os.kill(workers[0], signal.SIGKILL)


def test_a_worker_that_is_to_take_anothers_place_gets_longer_than_one_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "uvicorn.supervisors.multiprocess.Process.wait_until_ready", lambda _, timeout, *__: timeout
    )
    assert Worker(Config("math:floor"), []).wait_until_ready(5) == STARTING


def _is_over(process: int) -> bool:
    """Nobody may have waited for what is left of it."""
    status = Path(f"/proc/{process}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


def _workers(process: int) -> list[int]:
    """Those that are there already; uvicorn starts a process besides."""
    return [one for one in _started(process) if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


def _importing(process: int) -> bool:
    """Whether a worker has come to imports of which the service's own are a part."""
    return any("pydantic_core" in Path(f"/proc/{one}/maps").read_text() for one in _workers(process))


def _started(process: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _children(process: int) -> list[int]:
    found = _started(process)
    assert len(found) >= 2
    return found
