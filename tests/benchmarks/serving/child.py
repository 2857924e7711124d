"""Processes that are measured: each on its own cores, with a time limit, ended with everything it started."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from service.settings import ROOT
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import Answer, Request, ask, is_right

PROC = Path("/proc")
POLL = 0.01  # seconds between two tries of a server that is starting
GRACE = 10.0  # seconds to end in before it is killed
ENDED = "Z"
MARK = "STARTED_BY_THE_BENCHMARK_AS"
"""An environment variable, with a value of its own for each server. What a server starts inherits it, and is known by
it even when its parent has ended: a daemon."""
DECIDED_HERE = {"WEB_CONCURRENCY", "PORT", "CONVSCOPE_WORKERS", "CONVSCOPE_HOST", "CONVSCOPE_PORT"}
"""Environment variables that are not inherited, nor are uvicorn's own: how many processes a server has and where it
listens is part of what is measured."""
TICK = os.sysconf("SC_CLK_TCK")


class Status(NamedTuple):
    """Some fields of /proc/<pid>/stat."""

    state: str
    parent: int
    processor_seconds: float
    started: int


class Child:
    """A server. Its root is timeout(1), which ends it even if the benchmark is killed; only what that runs counts."""

    def __init__(
        self, name: str, process: "subprocess.Popen[bytes]", port: int, log: Path, mark: str
    ) -> None:
        self.name = name
        self.process = process
        self._mark = mark
        self.port = port
        self.log = log
        self.ready_after = 0.0
        """seconds from the start of the process to the first right answer"""

    def processes(self) -> dict[int, Status]:
        """Every process of it, by id."""
        return {pid: status for pid, status in self._family().items() if pid != self.process.pid}

    def _family(self) -> dict[int, Status]:
        """With its root. Some write over their environment, and some outlive their parents: either is enough."""
        root = [self.process.pid] if self.process.returncode is None else []  # else another may have its id
        return descendants(*root, *marked(self._mark))

    def _running(self) -> dict[int, Status]:
        """Raises BenchmarkError when there are none: nothing takes no time and no memory."""
        running = self.processes()
        if not running:
            raise BenchmarkError(f"{self.name} ended: {self.last_words()}")
        return running

    def processor_seconds(self) -> float:
        """User and system time of all of them since they started. Raises BenchmarkError when it ended."""
        return sum(status.processor_seconds for status in self._running().values())

    def memory_mb(self) -> float:
        """What is resident of a server of one process; of several, their proportional sets (PSS): what two share
        counts half for each. Megabytes. Raises BenchmarkError when it ended, or nothing of it can be read.

        A PSS is too small by what is shared with processes that are none of the server's, such as the benchmark's own,
        which run the same Python and libraries: so it is taken only where pages would count twice without it.
        """
        running = self._running()
        kind: Literal["Rss", "Pss"] = "Rss" if len(running) == 1 else "Pss"
        read = [found for pid in running if (found := _memory(pid, kind)) is not None]
        if not read:
            raise BenchmarkError(f"what {self.name} has in memory cannot be read in {PROC}")
        return sum(read) / 1e6

    def last_words(self) -> str:
        """The end of its log, for a person who asks why it failed."""
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1][:200] if lines else "it said nothing"

    def stop(self) -> None:
        """Politely, then not; returns when nothing of it runs any more."""
        there = self._family()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        until = time.monotonic() + GRACE
        while (left := _still(there | self._family())) and time.monotonic() < until:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(POLL)
        self.process.wait()


@contextmanager
def started(
    name: str,
    command: Sequence[str | Path],
    *,
    port: int,
    cores: Sequence[int],
    logs: Path,
    limit: float,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """A server while the context lasts, at most `limit` seconds; what it prints goes to a file in `logs`."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{''.join(one if one.isalnum() else '-' for one in name)}.log"
    pinned = ["timeout", "-k", "5", str(round(limit)), *on_cores(cores), *map(str, command)]
    mark = uuid4().hex
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            pinned,
            cwd=ROOT,
            env={**inherited(), "PYTHONDONTWRITEBYTECODE": "", **(environment or {}), MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C is for the benchmark, which then ends them in order. A group does it and no session of its own:
            # Linux divides a core among sessions first, and niceness counts only within one (sched(7), autogroup).
            process_group=0,
        )
    child = Child(name, process, port, log, mark)
    try:
        yield child
    finally:
        child.stop()


def inherited() -> dict[str, str]:
    """This process's environment without what the benchmark decides."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in DECIDED_HERE
        and not name.startswith("UVICORN_")  # the service takes small letters too
    }


def wait_for(
    child: Child, request: Request, right: Callable[[Answer], bool], *, began: float, seconds: float
) -> None:
    """Asks every 10 ms until the answer is right, and sets `ready_after` from `began` (monotonic seconds)."""
    until = began + seconds
    while time.monotonic() < until:
        if child.process.poll() is not None:
            raise BenchmarkError(f"{child.name} ended at its start: {child.last_words()}")
        with suppress(OSError, http.client.HTTPException):
            if is_right(ask(child.port, request, seconds=10), right):
                child.ready_after = time.monotonic() - began
                return
        time.sleep(POLL)
    raise BenchmarkError(f"{child.name} gave no right answer within {seconds:.0f} s: {child.last_words()}")


def reported(module: str, *arguments: object, core: int, limit: float) -> Any:
    """What a module of this package prints as JSON when it runs on a core of its own for at most `limit` seconds."""
    command = [*on_cores([core]), sys.executable, "-m", f"{__package__}.{module}", *map(str, arguments)]
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=ROOT, env=inherited(), capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{module} was not over after {limit:.0f} s") from error
    if done.returncode:
        raise BenchmarkError(f"{module} failed: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def on_cores(cores: Sequence[int]) -> list[str]:
    """The start of a command that may use these cores only."""
    return ["taskset", "-c", ",".join(map(str, cores))]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def descendants(*roots: int) -> dict[int, Status]:
    """These processes and everything they started, directly or not."""
    everything = every_process()
    found: dict[int, Status] = {}
    new = list(roots)
    while new:
        pid = new.pop()
        if pid in everything:
            found[pid] = everything[pid]
            new += [one for one, status in everything.items() if status.parent == pid and one not in found]
    return found


def marked(mark: str) -> list[int]:
    """The processes with this MARK in the environment that they began with."""
    found, wanted = [], f"{MARK}={mark}".encode()
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def every_process() -> dict[int, Status]:
    """Of this machine, by id; those that have ended and are not yet waited for are left out."""
    found = {}
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):
            status = parsed((folder / "stat").read_text())
            if status.state != ENDED:
                found[int(folder.name)] = status
    return found


def _still(there: Mapping[int, Status]) -> list[int]:
    """Those of the processes that still run; another may have got the id of one that does not."""
    now = every_process()
    return [pid for pid, status in there.items() if pid in now and now[pid].started == status.started]


def parsed(stat: str) -> Status:
    """A line of /proc/<pid>/stat. The name, in parentheses, may hold spaces and parentheses itself."""
    fields = stat.rpartition(")")[2].split()
    return Status(fields[0], int(fields[1]), (int(fields[11]) + int(fields[12])) / TICK, int(fields[19]))


def _memory(pid: int, kind: Literal["Rss", "Pss"]) -> float | None:
    """Bytes; None of a process that has ended meanwhile. Raises BenchmarkError for one that may not be looked at."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError as error:
        raise BenchmarkError(f"the memory of process {pid} cannot be read: {error}") from error
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:")), None)
