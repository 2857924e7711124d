"""Several workers on one port."""

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from service.settings import ROOT
from service.sockets import OwnQueue
from service.workers import (
    AGAIN,
    STARTING,
    STOPPING,
    SUCCESSOR,
    Successor,
    Supervisor,
    Worker,
    has_terminal,
    run_one,
)
from tests.service.held import PATIENCE
from tests.service.test_server import HEAD, IMAGE, served
from tests.service.test_settings import started

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers share one socket")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_not_shared_with_a_stranger(workers: str) -> None:
    with OwnQueue.bound(socket.AF_INET, ("127.0.0.1", 0)) as other:
        other.listen()
        port = str(other.getsockname()[1])
        done = started("--workers", workers, "--port", port)
    assert done.returncode == STARTUP_FAILURE
    [line] = done.stderr.splitlines()
    assert line.endswith(f": cannot listen on 127.0.0.1:{port}: Address already in use")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_host_that_is_none_is_told_by_its_name_before_any_model_is_opened(workers: str) -> None:
    done = started("--host", f"{'a' * 64}.example", "--workers", workers, PORT="8000")
    assert done.returncode == STARTUP_FAILURE
    [line] = done.stderr.splitlines()
    assert line.endswith(f": cannot listen on {'a' * 64}.example:8000: this is no name of a host")


def started_and_stopped(told: list[str]) -> Any:
    """An application that keeps what it is told."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        for _ in range(2):
            told.append((await receive())["type"])
            await send({"type": f"{told[-1]}.complete"})

    return application


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
            told: list[str] = []
            config = Config(
                started_and_stopped(told), lifespan="on", loop="asyncio", port=port, log_config=None
            )
            with pytest.raises(SystemExit) as ended:
                run_one(config)
        assert ended.value.code == STARTUP_FAILURE
        assert told == ["lifespan.startup", "lifespan.shutdown"]
        [error] = [record for record in caplog.records if record.levelname == "ERROR"]
        assert error.getMessage() == f"cannot listen on 127.0.0.1:{port}: Address already in use"


# The application fails at whatever it is asked.
FAILING = """
from uvicorn import Config
from service import workers
workers.run_several(Config("math:floor", interface="asgi3", lifespan="on", port=0, workers=2))
"""


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


class Process:
    """A worker's, of which a test says how it is."""

    def __init__(self, status: int | None, pid: int = 1) -> None:
        self.exitcode, self.pid = status, pid

    def is_alive(self, timeout: float = 5) -> bool:
        return self.exitcode is None

    def is_ready(self) -> bool:
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        pass

    start = kill = join


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """Hears no signal, and starts nothing."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(multiprocess, "Process", lambda *_: Process(None, 2))
    return Supervisor(Config("math:floor", workers=2, log_config=None), sockets=[])


def test_a_worker_that_died_at_once_is_followed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("service.workers.monotonic", lambda: now)
    monkeypatch.setattr(multiprocess.Process, "start", lambda _: None)
    worker = Worker(Config("math:floor"), [])
    worker.start()
    for status in (1, -signal.SIGSEGV):
        worker.process = Process(status)  # type: ignore[assignment]
        now = 1000.0 + AGAIN - 0.01
        assert worker.is_alive()
        now = 1000.0 + AGAIN
        assert not worker.is_alive()
    now = 1000.0
    worker.process = Process(STARTUP_FAILURE)  # type: ignore[assignment]
    assert not worker.is_alive()  # which ends the service, and that without delay


def test_a_worker_that_hangs_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(Config("math:floor", log_config=None), [])
    worker.process = Process(None)  # type: ignore[assignment]
    monkeypatch.setattr(worker, "ping", lambda _: False)
    assert not worker.is_alive()
    assert caplog.messages == ["Child process [1] does not answer, and is killed"]


def test_one_that_comes_later_stops_no_others_by_its_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("service.workers.monotonic", lambda: now)
    successor = Successor(Config("math:floor"), [])
    successor._since = now
    successor.process = Process(STARTUP_FAILURE)  # type: ignore[assignment]
    assert successor.is_alive()
    assert successor.exitcode == 1
    now += AGAIN
    assert not successor.is_alive()


@pytest.mark.parametrize(
    ("others", "first"),
    [
        ([Process(1), Process(1)], True),  # nobody answers
        ([Process(1), Process(None)], False),
        ([Process(1), "came just now"], True),  # which may still find that there is nothing to serve
        ([Process(1), "came long ago"], False),
    ],
)
def test_where_nobody_is_left_it_is_as_at_the_start(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, others: list[Any], first: bool
) -> None:
    now = 1000.0
    monkeypatch.setattr("service.workers.monotonic", lambda: now)
    supervisor._told = True
    others, dead = [*others], sum(isinstance(other, Process) and other.exitcode == 1 for other in others)
    for at, other in enumerate(others):
        if isinstance(other, str):
            others[at] = came = Successor.__new__(Successor)
            came.process = Process(None, 3)  # type: ignore[assignment]
            came._since = now - (0 if other == "came just now" else AGAIN)
            monkeypatch.setattr(came, "ping", lambda _: True)
            monkeypatch.setattr(came, "is_ready", lambda: False)
    monkeypatch.setattr(multiprocess, "Process", Successor)
    started: list[type] = []
    monkeypatch.setattr(Worker, "start", lambda self: started.append(type(self)))
    supervisor.processes = others
    supervisor.keep_subprocess_alive()
    assert multiprocess.Process is (Worker if first else Successor)
    assert started == [Worker if first else Successor] * dead


@pytest.mark.parametrize(("status", "end"), [(1, "with status 1"), (-9, "by signal 9 (Killed)")])
def test_of_a_worker_that_died_it_is_told_how(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture, status: int, end: str
) -> None:
    supervisor._told = True
    living: Any = Process(None, 3)
    dead: Any = Process(status)
    supervisor.processes = [living, dead]
    supervisor.keep_subprocess_alive()
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == f"Child process [1] ended {end}; [2] follows"


def test_it_is_told_once_that_the_service_runs_and_to_those_that_come_later(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "uvicorn.error")
    ready: Any = Process(None)
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        supervisor.processes, supervisor.sockets = [ready], [own]
        for _ in range(2):
            supervisor.keep_subprocess_alive()
    [line] = caplog.messages
    assert line.startswith("Uvicorn running on http://127.0.0.1:")
    assert multiprocess.Process is Successor
    assert Successor(supervisor.config, []).process.name == SUCCESSOR


def test_a_supervisor_that_is_told_twice_hurries_its_workers(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurried: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *what: hurried.append(what))
    waited_for: Any = Process(None, 3)
    over: Any = Process(0, 4)
    supervisor.processes = [over, waited_for]
    supervisor._stop(signal.SIGINT, None)
    assert hurried == []
    supervisor._stop(signal.SIGINT, None)
    assert hurried == [(3, signal.SIGINT)]


@pytest.mark.parametrize(
    ("there", "rounds", "ends"),
    [
        ([True, False], 0, True),
        ([True, True, False, False], 2, True),  # it is told a moment later
        ([True, True], 0, False),  # somebody wants the workers renewed
        ([True, False, False, False], 2, False),  # it has ended long ago
        ([False, False], 0, False),
    ],
)
@pytest.mark.parametrize("nohup", [False, True])
def test_the_end_of_its_terminal_stops_a_service_of_several_unless_that_is_not_to_be(
    monkeypatch: pytest.MonkeyPatch, there: list[bool], rounds: int, ends: bool, nohup: bool
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN if nohup else signal.SIG_DFL)
    answers = iter(there)
    monkeypatch.setattr("service.workers.has_terminal", lambda: next(answers))
    supervisor = Supervisor(Config("math:floor", workers=2), sockets=[])
    supervisor._told = True
    for _ in range(rounds):
        supervisor.keep_subprocess_alive()
    supervisor._renew(signal.SIGHUP, None)
    stops = ends and not nohup
    assert supervisor.should_exit.is_set() == stops
    assert supervisor.signal_queue == [signal.SIGTERM if stops else signal.SIGHUP]


def test_a_terminal_may_end_a_moment_after_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)
    answers = iter([True, True, False])
    monkeypatch.setattr("service.workers.has_terminal", lambda: next(answers))
    supervisor = Supervisor(Config("math:floor", workers=2), sockets=[])
    supervisor._renew(signal.SIGHUP, None)
    assert not supervisor.should_exit.is_set()
    supervisor.handle_signals()
    assert supervisor.should_exit.is_set()


# Of a process that has one, and whose terminal ends.
TERMINAL = """
import os, pty, signal
from service.workers import has_terminal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
says, hears = os.pipe()[::-1]
child, terminal = pty.fork()
if child == 0:
    os.write(says, b"%d" % has_terminal())
    signal.sigwait({signal.SIGHUP})
    os.write(says, b"%d" % has_terminal())
    os._exit(0)
print(os.read(hears, 1) == b"1")
os.close(terminal)
print(os.read(hears, 1) == b"0")
os.waitpid(child, 0)
"""


def test_a_terminal_that_has_ended_is_none() -> None:
    said = subprocess.run(  # noqa: S603
        [sys.executable, "-c", TERMINAL], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout.split() == ["True", "True"]


def test_a_terminal_that_there_is_no_file_for_has_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: Any) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", none_left)
        there = has_terminal()
    assert there


def test_a_worker_that_is_told_to_stop_has_the_time_that_requests_have_and_some_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.workers.monotonic", lambda: 1000.0)
    monkeypatch.setattr(multiprocess.Process, "terminate", lambda _: None)
    worker = Worker(Config("math:floor", timeout_graceful_shutdown=30), [])
    worker.terminate()
    assert worker._stop_by == 1000.0 + 30 + STOPPING


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


async def test_two_workers_answer_and_stop_cleanly(artifacts: Path) -> None:
    async with served(artifacts, "--workers", "2") as server:
        async with httpx.AsyncClient(
            base_url=server.url, timeout=60
        ) as client:  # it is said to run: it answers
            answer = await client.post("/predict/mnist?preprocess=none", content=IMAGE)
        assert answer.json()["label"] == "5"
        for process in _children(server.process.pid):
            assert os.sched_getscheduler(process) == os.SCHED_BATCH
        # What a terminal tells all of its processes ends none of them, and none is deaf to it.
        heard = {signal.SIGINT, signal.SIGHUP}
        async with asyncio.timeout(PATIENCE):
            for process in _workers(server.process.pid):
                while not heard <= _signals(process, "SigCgt"):  # noqa: ASYNC110 — nobody tells
                    await asyncio.sleep(0.01)
                assert not heard & _signals(process, "SigBlk")
        [other] = {*_children(server.process.pid)}.difference(_workers(server.process.pid))
        assert signal.SIGHUP in _signals(other, "SigBlk")
        assert await server.stop() == 0
        assert not any("Traceback" in line for line in server.lines)


async def test_two_workers_with_nothing_new_to_serve_go_on_and_stop_at_once_when_told_twice(
    artifacts: Path,
) -> None:
    async with (
        served(artifacts, "--workers", "2", CONVSCOPE_DRAIN="1000") as server,
        asyncio.timeout(PATIENCE),
    ):
        before = _workers(server.process.pid)
        (artifacts / "models").rename(artifacts / "away")
        server.process.send_signal(signal.SIGHUP)
        assert server.process.stderr is not None
        while b"aborting the restart" not in (line := await server.process.stderr.readline()):
            assert line
            server.lines.append(line.decode())
        assert any("takes no other's place: there is no model" in line for line in server.lines)
        assert _workers(server.process.pid) == before
        reader, writer = await server.connect()
        writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")  # a worker waits for its body
        server.process.send_signal(signal.SIGINT)
        await server.stopped_accepting()
        assert await server.stop(signal.SIGINT) == 0
        writer.close()
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


def _signals(process: int, what: str) -> set[int]:
    """Those that a process catches or has blocked, by the name that proc(5) has for it."""
    [bits] = [
        line.split()[1]
        for line in Path(f"/proc/{process}/status").read_text().splitlines()
        if line.startswith(f"{what}:")
    ]
    return {number for number in range(1, 65) if int(bits, 16) >> (number - 1) & 1}


def _importing(process: int) -> bool:
    """Whether a worker has come to imports of which the service's own are a part."""
    return any("pydantic_core" in Path(f"/proc/{one}/maps").read_text() for one in _workers(process))


def _started(process: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _children(process: int) -> list[int]:
    found = _started(process)
    assert len(found) >= 2
    return found
