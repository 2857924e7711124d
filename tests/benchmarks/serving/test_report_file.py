"""Where the file of a run lies, what is in it, and that it is whole."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.settings import ROOT
from tests.benchmarks.serving import command, report_file, wrk
from tests.benchmarks.serving.bench import SHORT, Bench, Cores, Section
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.goals import GOALS, judged
from tests.benchmarks.serving.report_file import content, place, write

EVERY = {goal.figure: goal.must for goal in GOALS}
BEFORE = '{"a whole run": true}'


def everything(_: Bench, section: Section) -> None:
    section.figures |= EVERY


def nothing(_: Bench, section: Section) -> None:
    pass


def skipping(_: Bench, section: Section) -> None:
    section.figures |= {name: value for name, value in EVERY.items() if name != "times the best peer"}
    section.skipped["a peer"] = "cannot be installed: no network"


def failing(_: Bench, section: Section) -> None:
    everything(_, section)
    raise BenchmarkError("no more")


def interrupted(_: Bench, section: Section) -> None:
    everything(_, section)
    raise KeyboardInterrupt


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """A run whose two sections these are, with these words, after a whole one."""
    monkeypatch.setattr(wrk, "installed", lambda: True)
    monkeypatch.setattr(command, "idle", lambda _: 1.0)
    monkeypatch.setattr(command, "_signals", list)
    monkeypatch.setattr(command, "_ignore_signals", lambda: None)
    monkeypatch.setattr(Cores, "allowed", lambda: Cores(0, 1))
    monkeypatch.setattr(report_file, "REPORT", tmp_path / "report.json")
    monkeypatch.setattr(report_file, "REPORT_OF_A_PART", tmp_path / "report-part.json")
    (tmp_path / "report.json").write_text(BEFORE)

    def run(first: Any, second: Any, *words: str) -> int:
        monkeypatch.setattr(command, "SECTIONS", {"no-ops": first, "start": second})
        monkeypatch.setattr(sys, "argv", ["serving", *words])
        return command.main()

    return run


@pytest.mark.parametrize("words", [(), ("--rounds", "1", "--seconds", "1"), ("--only", "start", "no-ops")])
def test_a_whole_run_is_written_over_the_last_one(
    run: Callable[..., int], tmp_path: Path, words: tuple[str, ...]
) -> None:
    hot_path = Section(lines=["no goal is judged by it"])
    assert run(everything, lambda _, section: section.lines.extend(hot_path.lines), *words) == 0
    written = json.loads((tmp_path / "report.json").read_text())
    assert list(written["sections"]["start"]["lines"]) == hot_path.lines
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    ("first", "second", "words", "status"),
    [
        (everything, interrupted, (), 1),
        (everything, failing, (), 1),
        (everything, nothing, ("--only", "no-ops"), 0),
        (nothing, nothing, (), 0),
        (skipping, skipping, (), 0),
    ],
)
def test_no_part_is_written_over_a_whole_run(
    run: Callable[..., int], tmp_path: Path, first: Any, second: Any, words: tuple[str, ...], status: int
) -> None:
    assert run(first, second, *words) == status
    assert (tmp_path / "report.json").read_text() == BEFORE
    assert "sections" in json.loads((tmp_path / "report-part.json").read_text())


def test_a_file_that_is_asked_for_is_written_whatever_the_run(
    run: Callable[..., int], tmp_path: Path
) -> None:
    assert run(everything, everything, "--json", str(tmp_path / "mine.json")) == 0
    assert (tmp_path / "report.json").read_text() == BEFORE
    assert (tmp_path / "mine.json").exists()


def test_on_one_core_no_run_is_whole() -> None:
    section = Section(figures=dict(EVERY))
    assert place(True, judged([section]), []) == report_file.REPORT
    assert place(True, judged([section], one_core=True), []) == report_file.REPORT_OF_A_PART


def test_who_was_asked_for_who_was_skipped_and_the_goals_are_in_it_by_name() -> None:
    section = Section(skipped={"a peer": "no network"})
    found = content(Bench(SHORT, Cores(0, 1), ("mlserver",)), {}, {"peers": section}, judged([]), ["why"])
    assert (found["skipped"], found["failed"]) == ({"a peer": "no network"}, ["why"])
    assert found["plan"]["peers"] == ("mlserver",)
    assert found["goals"][0]["goal"]["figure"] == "share of the no-op"
    assert content(Bench(SHORT, Cores(0, 1)), {}, {}, [], [])["plan"]["peers"] == "all"


def test_a_file_that_cannot_be_finished_leaves_the_one_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "report.json"
    file.write_text(BEFORE)
    writing = Path.write_text

    def full(path: Path, text: str) -> int:
        writing(path, text[:3])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space left"):
        write(file, {"new": True})
    with pytest.raises(ValueError, match="JSON"):
        write(file, {"new": float("nan")})
    assert file.read_text() == BEFORE
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_one(tmp_path: Path) -> None:
    link, target = tmp_path / "link.json", tmp_path / "target.json"
    target.write_text(BEFORE)
    link.symlink_to(target)
    write(link, {"new": True})
    assert (link.is_symlink(), json.loads(target.read_text())) == (True, {"new": True})


def test_what_is_no_file_is_written_to_and_stays(tmp_path: Path) -> None:
    """As a device would: a pipe, since a device that this went wrong with would be lost."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # both ends: else the writing one waits for a reader
    try:
        write(pipe, {"new": True})
        assert pipe.is_fifo()
        assert json.loads(os.read(reader, 4096)) == {"new": True}
    finally:
        os.close(reader)


SAID = """
from pathlib import Path
from tests.benchmarks.serving.report_file import write

print("before", flush=True)
write(Path("/dev/stdout"), {"new": True})
print("after")
"""


@pytest.mark.parametrize("is_pipe", [True, False])
def test_what_is_written_to_standard_output_takes_nothing_of_it(tmp_path: Path, is_pipe: bool) -> None:
    log = tmp_path / "log"
    log.write_text("yesterday\n")
    with log.open("a") as stream:
        out = subprocess.PIPE if is_pipe else stream
        done = subprocess.run([sys.executable, "-c", SAID], cwd=ROOT, stdout=out, text=True, check=True)  # noqa: S603
    lines = ["before", "{", ' "new": true', "}", "after"]
    assert (done.stdout if is_pipe else log.read_text()).splitlines() == (
        lines if is_pipe else ["yesterday", *lines]
    )
