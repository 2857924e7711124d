"""`python -m tests.benchmarks.serving` past the measuring itself."""

import http.client
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.serving import __main__, beside_peers, command, wrk
from tests.benchmarks.serving.bench import SHORT, Bench, Cores, Section
from tests.benchmarks.serving.child import free_port
from tests.benchmarks.serving.messages import ask, get
from tests.benchmarks.serving.servers import digit

MET = Section(figures={"share of the no-op": 0.9})


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """As they were before: the command takes them for itself."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command with these words, on a machine that is idle and has wrk."""

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["serving", *words])
        monkeypatch.setattr(wrk, "installed", lambda: True)
        monkeypatch.setattr(command, "idle", lambda _: 1.0)
        return __main__.main()

    return run


def of_nobody(_: Bench) -> Section:
    ask(free_port(), digit())
    return Section()


def of_nobodys_models(_: Bench) -> Section:
    get(free_port(), "/models")
    return Section()


def of_half_an_answer(_: Bench) -> Section:
    raise http.client.IncompleteRead(b"{")


@pytest.mark.parametrize("dying", [of_nobody, of_nobodys_models, of_half_an_answer])
def test_a_server_that_dies_takes_its_own_section_only(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    dying: Callable[[Bench], Section],
) -> None:
    sections = {"no-ops": lambda _: MET, "start": dying, "soak": lambda _: MET}
    monkeypatch.setattr(command, "SECTIONS", sections)
    file = tmp_path / "new folder" / "report.json"
    assert run("--only", *sections, "--json", str(file)) == 1
    written = json.loads(file.read_text())
    assert written["sections"].keys() == {"no-ops", "soak"}
    assert written["failed"][0].startswith("start could not be measured: ")
    assert "aim met" in capsys.readouterr().out


def test_a_peer_that_dies_leaves_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(*_: Any) -> None:
        ask(free_port(), digit())

    monkeypatch.setattr(beside_peers, "_measured", dying)
    monkeypatch.setattr(beside_peers, "service", nullcontext)
    section = beside_peers.measure(Bench(SHORT, Cores.allowed(), ("bentoml",)))
    assert len(section.lines) == 2
    assert "BentoML 1.4.39, raw body skipped: ConnectionRefusedError" in section.lines[0]


def test_an_interruption_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Bench) -> Section:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "SECTIONS", {"no-ops": lambda _: MET, "start": interrupted})
    assert command.measured(Bench(SHORT, Cores.allowed()), ["no-ops", "start"]) == (
        {"no-ops": MET},
        ["interrupted"],
    )


def test_an_interruption_before_anything_was_measured_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "main", interrupted)
    assert __main__.main() == 1
    assert capsys.readouterr().err == "interrupted before anything was measured\n"


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
    ],
)
def test_what_is_impossible_is_said_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setattr(command, "SECTIONS", {"peers": lambda _: pytest.fail("it was measured")})
    with pytest.raises(SystemExit, match="2"):
        run(*words)
    assert said in capsys.readouterr().err
