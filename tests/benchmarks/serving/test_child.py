"""Processes and their ends."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.serving import child as module
from tests.benchmarks.serving.child import (
    Child,
    descendants,
    every_process,
    free_port,
    parsed,
    started,
    wait_for,
)
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import Answer, Request
from tests.benchmarks.serving.servers import is_seven

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# A child with a child of its own that left the session: what a server with daemons does.
FAMILY = """
import subprocess, sys, time
while time.process_time() < 0.1: pass  # the kernel counts in hundredths of a second
one = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(one.pid, flush=True)
one.wait()
"""


def test_a_process_with_a_strange_name_is_read() -> None:
    fields = ["S", "17", *["0"] * 9, "250", "50", *["0"] * 6, "4711", "0"]
    found = parsed(f"42 (a) name (with) ) {' '.join(fields)}")
    assert (found.parent, found.started) == (17, 4711)
    assert found.processor_seconds == 300 / os.sysconf("SC_CLK_TCK")


def test_everything_a_server_started_counts_and_ends_with_it(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    command = [sys.executable, "-c", FAMILY]
    with started("a family", command, port=0, cores=[core], logs=tmp_path, limit=60) as child:
        while not (said := child.log.read_text()):
            time.sleep(0.01)
        grandchild = int(said)
        there = child.processes()
        assert grandchild in there
        assert len(there) == 2
        assert os.sched_getaffinity(grandchild) == {core}
        assert child.memory_mb() > 2
        assert 0 < child.processor_seconds() < 30
    assert not there.keys() & every_process().keys()


# What a server leaves behind: a daemon whose parent has ended.
ORPHAN = """
import subprocess, sys
one = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(one.pid, flush=True)
"""
OF_A_HELPER = f"""
import subprocess, sys, time
subprocess.run([sys.executable, "-c", {ORPHAN!r}])
print("ended", flush=True)
time.sleep(60)
"""


def test_a_daemon_of_a_helper_that_has_ended_counts_and_ends_with_the_server(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OF_A_HELPER]
    cores = [min(os.sched_getaffinity(0))]
    with started("a family", command, port=0, cores=cores, logs=tmp_path, limit=60) as child:
        while "ended" not in (said := child.log.read_text()):
            time.sleep(0.01)
        daemon = int(said.split()[0])
        assert daemon in child.processes()
        assert len(child.processes()) == 2
    assert daemon not in every_process()


def test_a_daemon_of_a_server_that_has_ended_ends_too(tmp_path: Path) -> None:
    cores = [min(os.sched_getaffinity(0))]
    command = [sys.executable, "-c", ORPHAN]
    with started("an orphan", command, port=0, cores=cores, logs=tmp_path, limit=60) as child:
        assert child.process.wait() == 0
        daemon = int(child.log.read_text())
        assert daemon in every_process()
    assert daemon not in every_process()


def test_a_server_that_has_ended_takes_no_time_and_no_memory_that_could_be_told(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('out of memory')"]
    cores = [min(os.sched_getaffinity(0))]
    with started("it", command, port=0, cores=cores, logs=tmp_path, limit=60) as child:
        child.process.wait()
        for measure in (child.memory_mb, child.processor_seconds):
            with pytest.raises(BenchmarkError, match="it ended: out of memory"):
                measure()


def test_a_load_that_is_niced_yields_to_the_server_which_no_key_interrupts(tmp_path: Path) -> None:
    """The first needs one session, the second two groups."""
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    cores = [min(os.sched_getaffinity(0))]
    with started("it", command, port=0, cores=cores, logs=tmp_path, limit=60) as child:
        assert os.getsid(child.process.pid) == os.getsid(0)
        assert os.getpgid(child.process.pid) != os.getpgid(0)


def test_what_the_user_has_set_for_another_server_changes_no_number_of_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WEB_CONCURRENCY", "CONVSCOPE_WORKERS", "convscope_workers", "UVICORN_WORKERS"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setenv("CONVSCOPE_DEADLINE", "3")
    command = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    cores = [min(os.sched_getaffinity(0))]
    settings = {"CONVSCOPE_WORKERS": "1"}
    with started("it", command, port=0, cores=cores, logs=tmp_path, limit=60, environment=settings) as child:
        child.process.wait()
        there = json.loads(child.log.read_text())
    assert (there["CONVSCOPE_DEADLINE"], there["CONVSCOPE_WORKERS"]) == ("3", "1")
    assert not there.keys() & {"WEB_CONCURRENCY", "convscope_workers", "UVICORN_WORKERS"}


@pytest.mark.parametrize(("pids", "megabytes"), [([7], 2.048), ([7, 8], 2 * 1.024)])
def test_what_one_process_has_is_counted_whole_and_what_several_share_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pids: list[int], megabytes: float
) -> None:
    """A page of one server that the benchmark has too is a page of it."""
    monkeypatch.setattr(module, "PROC", tmp_path)
    for pid in pids:
        (tmp_path / str(pid)).mkdir()
        rollup = "0-1 [rollup]\nRss:      2000 kB\nPss:      1000 kB\nPss_Anon:   10 kB\n"
        (tmp_path / str(pid) / "smaps_rollup").write_text(rollup)
    monkeypatch.setattr(Child, "processes", lambda _: dict.fromkeys(pids))
    process: Any = None
    child = Child("it", process, 0, tmp_path / "log", "mark")
    assert child.memory_mb() == pytest.approx(megabytes)


def of_processes(monkeypatch: pytest.MonkeyPatch, folder: Path, *pids: int) -> Child:
    """A server with these, of which nothing can be read yet."""
    monkeypatch.setattr(module, "PROC", folder)
    monkeypatch.setattr(Child, "processes", lambda _: dict.fromkeys(pids))
    process: Any = None
    return Child("it", process, 0, folder / "log", "mark")


def test_memory_that_cannot_be_read_is_not_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="what it has in memory cannot be read"):
        of_processes(monkeypatch, tmp_path, 7).memory_mb()
    (tmp_path / "7" / "smaps_rollup").mkdir(parents=True)  # reading it fails for whoever asks
    with pytest.raises(BenchmarkError, match="the memory of process 7 cannot be read"):
        of_processes(monkeypatch, tmp_path, 7, 8).memory_mb()


def test_a_process_that_ended_meanwhile_takes_no_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "smaps_rollup").write_text("Pss:      1000 kB\n")
    assert of_processes(monkeypatch, tmp_path, 7, 8).memory_mb() == pytest.approx(1.024)


def a_server() -> Any:
    """That only seems to run."""
    process = SimpleNamespace(poll=lambda: None)
    return SimpleNamespace(name="it", port=0, last_words=lambda: "", process=process)


def test_a_server_is_ready_when_its_answer_is_right_whatever_it_said_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page with status 200 is none, nor is JSON of another shape."""
    bodies = iter([b"<html>", b"[]", b"{}", b"7", b'{"label":"1"}', b'{"label":"7"}'])
    monkeypatch.setattr(module, "ask", lambda *_, **__: Answer(200, next(bodies)))
    monkeypatch.setattr(module, "POLL", 0.0)
    child = a_server()
    wait_for(child, Request("/", b"", ""), is_seven, began=time.monotonic() - 5, seconds=30)
    assert child.ready_after == pytest.approx(5, abs=1)
    assert next(bodies, None) is None


def test_a_server_whose_answer_is_never_right_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ask", lambda *_, **__: Answer(200, b"<html>"))
    with pytest.raises(BenchmarkError, match="it gave no right answer within 0 s"):
        wait_for(a_server(), Request("/", b"", ""), is_seven, began=time.monotonic(), seconds=0.05)


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such setting')"]
    port = free_port()
    with (
        started(
            "it", command, port=port, cores=[min(os.sched_getaffinity(0))], logs=tmp_path, limit=60
        ) as child,
        pytest.raises(BenchmarkError, match="no such setting"),
    ):
        wait_for(child, Request("/", b"", "text/plain"), bool, began=time.monotonic(), seconds=30)


def test_descendants_are_none_of_a_process_that_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert descendants(process.pid) == {}
