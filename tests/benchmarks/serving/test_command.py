"""`python -m tests.benchmarks.serving` past the measuring itself."""

import http.client
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.settings import ROOT
from tests.benchmarks.serving import __main__, command, wrk
from tests.benchmarks.serving.bench import FULL, SHORT, Bench, Cores, Section
from tests.benchmarks.serving.child import free_port
from tests.benchmarks.serving.errors import BenchmarkError, measuring
from tests.benchmarks.serving.messages import ask, get
from tests.benchmarks.serving.servers import digit

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MET = Section(figures={"share of the no-op": 0.9})
SHORT_BENCH = Bench(SHORT, Cores.allowed())


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """As they were before: the command takes them for itself."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command with these words, on a machine that is idle and has wrk."""

    monkeypatch.setattr(wrk, "installed", lambda: True)
    monkeypatch.setattr(command, "idle", lambda _: 1.0)

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["serving", *words])
        return __main__.main()

    return run


def met(_: Bench, section: Section) -> None:
    section.figures |= MET.figures


def of_nobody(_: Bench, section: Section) -> None:
    ask(free_port(), digit())


def of_nobodys_models(_: Bench, section: Section) -> None:
    get(free_port(), "/models")


def of_half_an_answer(_: Bench, section: Section) -> None:
    raise http.client.IncompleteRead(b"{")


def of_a_page(_: Bench, section: Section) -> None:
    json.loads("<html>")


def of_no_time(_: Bench, section: Section) -> None:
    raise ZeroDivisionError("float division by zero")


@pytest.mark.parametrize("dying", [of_nobody, of_nobodys_models, of_half_an_answer, of_a_page, of_no_time])
def test_a_server_that_dies_takes_its_own_section_only(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    dying: Callable[[Bench, Section], None],
) -> None:
    sections = {"no-ops": met, "start": dying, "soak": met}
    monkeypatch.setattr(command, "SECTIONS", sections)
    file = tmp_path / "new folder" / "report.json"
    assert run("--only", *sections, "--json", str(file)) == 1
    written = json.loads(file.read_text())
    assert written["sections"].keys() == {"no-ops", "soak"}
    assert written["failed"][0].startswith("start could not be measured: ")
    assert "aim met" in capsys.readouterr().out


def test_an_interruption_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Bench, section: Section) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "SECTIONS", {"no-ops": met, "start": interrupted})
    assert command.measured(SHORT_BENCH, ["no-ops", "start"]) == ({"no-ops": MET}, ["interrupted"])


def test_a_section_that_fails_keeps_what_it_had_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(bench: Bench, section: Section) -> None:
        met(bench, section)
        raise BenchmarkError("no more")

    monkeypatch.setattr(command, "SECTIONS", {"no-ops": half})
    found, failed = command.measured(SHORT_BENCH, ["no-ops"])
    assert failed == ["no-ops could not be measured: no more"]
    assert found["no-ops"].figures == MET.figures
    assert "it failed" in found["no-ops"].lines[-1]


def test_what_fails_while_tidying_up_after_an_interruption_does_not_hide_it() -> None:
    @contextmanager
    def undying() -> Iterator[None]:
        try:
            yield
        finally:
            raise OSError("a server that does not end")

    with pytest.raises(KeyboardInterrupt), measuring(), undying():
        raise KeyboardInterrupt


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_measuring_and_another_one_not_the_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., int], number: signal.Signals
) -> None:
    ended: list[str] = []

    def interrupted(_: Bench, section: Section) -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)  # while the servers are being ended
            ended.append("every server")

    def report(*_: Any) -> str:
        signal.raise_signal(number)
        return ""

    monkeypatch.setattr(command, "SECTIONS", {"no-ops": met, "start": interrupted, "soak": met})
    monkeypatch.setattr(command, "report", report)
    signal.signal(number, signal.SIG_DFL)
    file = tmp_path / "report.json"
    assert run("--json", str(file)) == 1
    written = json.loads(file.read_text())
    assert (list(written["sections"]), written["failed"]) == (["no-ops"], ["interrupted"])
    assert ended


def test_a_closed_terminal_does_not_end_what_nohup_started() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert signal.SIGHUP not in command._signals()


def test_after_the_last_section_nothing_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "SECTIONS", {"no-ops": met})
    command.measured(SHORT_BENCH, ["no-ops"])
    for number in SIGNALS:
        signal.raise_signal(number)


class Closed(io.StringIO):
    """A terminal that has gone, or the end of a pipe that `head` has left."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("output", [Closed(), io.TextIOWrapper(io.BytesIO(), "ascii"), None])
def test_what_cannot_be_printed_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., int], output: Any
) -> None:
    monkeypatch.setattr(command, "SECTIONS", {"no-ops": met})
    monkeypatch.setattr(sys, "stdout", output)
    file = tmp_path / "report.json"
    assert run("--json", str(file)) == 0
    assert json.loads(file.read_text())["sections"]["no-ops"]["figures"] == MET.figures
    if isinstance(output, io.TextIOWrapper):
        assert isinstance(output.buffer, io.BytesIO)
        assert b"MNIST PNG ? JSON" in output.buffer.getvalue()


def test_what_cannot_be_written_is_printed_all_the_same(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
) -> None:
    file = tmp_path / "report.json"

    def fills_the_disk(bench: Bench, section: Section) -> None:
        met(bench, section)
        file.mkdir()

    monkeypatch.setattr(command, "SECTIONS", {"no-ops": fills_the_disk})
    assert run("--json", str(file)) == 1
    printed = capsys.readouterr().out
    assert "aim met" in printed
    assert f"{file} could not be written" in printed


def test_an_interruption_before_anything_was_measured_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "main", interrupted)
    assert __main__.main() == 1
    assert capsys.readouterr().err == "interrupted before anything was measured\n"


def test_where_there_is_no_proc_one_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(__main__, "PROC", tmp_path / "stat")
    assert __main__.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("needs Linux")
    assert said.count("\n") == 1


def test_what_an_output_has_no_letter_for_is_a_question_mark() -> None:
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    words = [sys.executable, "-m", "tests.benchmarks.serving", "--help"]
    done = subprocess.run(words, env=ascii_only, cwd=ROOT, capture_output=True, check=True)  # noqa: S603
    assert b"[--only SECTION ?]" in done.stdout


def test_without_wrk_nothing_is_begun(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]
) -> None:
    monkeypatch.setattr(command, "SECTIONS", {"no-ops": lambda *_: pytest.fail("it was measured")})
    monkeypatch.setattr(wrk, "installed", lambda: False)
    assert run() == 2
    assert "wrk is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(("share", "told"), [(0.5, True), (0.95, False)])
def test_cores_that_are_busy_are_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    share: float,
    told: bool,
) -> None:
    monkeypatch.setattr(command, "SECTIONS", {"no-ops": met})
    monkeypatch.setattr(command, "idle", lambda _: share)
    run("--json", str(tmp_path / "report.json"))
    assert ("the cores are only 50% idle" in capsys.readouterr().err) == told


@pytest.mark.parametrize(("cores", "told"), [({1}, True), ({0, 1}, False)])
def test_one_core_for_both_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    cores: set[int],
    told: bool,
) -> None:
    monkeypatch.setattr(command, "SECTIONS", {"no-ops": met})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    run("--json", str(tmp_path / "report.json"))
    printed = capsys.readouterr()
    assert ("one core only" in printed.err) == ("not judged: one core" in printed.out) == told
    assert ("aim met" in printed.out) != told


def test_rounds_and_seconds_are_those_of_every_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["serving", "--rounds", "3", "--seconds", "2", "--soak", "60"])
    plan = command._plan(command._arguments())
    assert plan == replace(FULL, rounds=3, overload_rounds=3, seconds=2, soak_seconds=60.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rounds", "0"), "'0' is not a whole number from 1 on"),
        (("--rounds=-1",), "'-1' is not a whole number from 1 on"),
        (("--seconds", "0"), "'0' is not a whole number from 1 on"),
        (("--soak", "nan"), "'nan' is no number of seconds"),
        (("--json", "/"), "no file can be written as /"),
        (("--json", "/dev/null/report.json"), "no file can be written there"),
        (("--only", "peers", "--peers", "nosuch"), "'nosuch': there are MLServer 1.7.1, JSON tensor; "),
        (("--short", "--peers", "mlserver"), "--peers without the section peers: --only peers measures it"),
        (("--only", "peers", "--soak", "60"), "--soak without the section soak"),
    ],
)
def test_what_is_impossible_is_said_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setattr(command, "SECTIONS", {"peers": lambda *_: pytest.fail("it was measured")})
    with pytest.raises(SystemExit, match="2"):
        run(*words)
    assert said in capsys.readouterr().err
