"""What uvicorn is told, and imports where the settings cannot be used any more; and what is logged."""

import gc
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from uvicorn.config import STARTUP_FAILURE

from service import __main__ as starter
from service.settings import ROOT
from service.workers import SUCCESSOR
from tests.service.options import uvicorns_options

NOWHERE = f"{'a' * 64}.example"  # no name of a host: the service gets as far as to listen
IMPORT = """
import multiprocessing, time
time.sleep = lambda seconds: print("waits", seconds)
if {is_worker}:
    multiprocessing.parent_process = object
import service.main
"""


@pytest.mark.parametrize(("is_worker", "waits"), [(False, ""), (True, "waits 5.0\n")])
def test_a_worker_whose_folder_has_gone_says_so_and_is_not_started_again_at_once(
    is_worker: bool, waits: str
) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", IMPORT.format(is_worker=is_worker)],
        cwd=ROOT,
        env={**os.environ, "CONVSCOPE_ARTIFACTS": "/nowhere", "PORT": "99999"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, waits)
    [line] = done.stderr.splitlines()
    assert line.startswith(
        "the settings cannot be used: CONVSCOPE_ARTIFACTS=/nowhere: Path does not point to a"
    )
    assert "; PORT=99999: Input should be" in line


def imported(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What uvicorn imports, with an application that is not started."""
    monkeypatch.setenv("CONVSCOPE_ARTIFACTS", str(artifacts))
    monkeypatch.delitem(sys.modules, "service.main", raising=False)
    return importlib.import_module("service.main")


class OverError(Exception):
    """This process would be."""


@pytest.mark.parametrize(
    ("spoilt", "text", "missing"),
    [
        ("models", None, "there is no model to serve"),
        ("aliases.json", '{"mnist": ', 'aliases.json: it is no JSON object of "alias": "model"'),
    ],
)
async def test_a_worker_that_has_nothing_to_serve_is_over_before_it_takes_anothers_place(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, spoilt: str, text: str | None, missing: str
) -> None:
    (artifacts / spoilt).rename(artifacts / "away")
    if text is not None:
        (artifacts / spoilt).write_text(text)

    def over(status: int) -> None:
        assert status == 1
        raise OverError

    monkeypatch.setattr(os, "_exit", over)
    main = imported(artifacts, monkeypatch)
    told: list[str] = []
    monkeypatch.setattr(main.log, "error", lambda line, what: told.append(line % what))
    with pytest.raises(OverError):
        async with main.or_over(main.app.router.lifespan_context)(main.app):
            pass
    assert told == [f"this process takes no other's place: {missing}"]


@pytest.mark.parametrize("aliases", [None, '{"mnist": "nobody"}'])
async def test_a_worker_that_has_something_to_serve_takes_anothers_place(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, aliases: str | None
) -> None:
    (artifacts / "aliases.json").unlink()
    if aliases is not None:
        (artifacts / "aliases.json").write_text(aliases)
    main = imported(artifacts, monkeypatch)
    async with main.or_over(main.app.router.lifespan_context)(main.app):
        assert main.app.state.service.store.snapshot.versions


@pytest.mark.parametrize("name", ["MainProcess", "SpawnProcess-1", SUCCESSOR])
def test_only_of_those_that_take_anothers_place_something_to_serve_is_wanted(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "name", name)
    lifespan = imported(artifacts, monkeypatch).app.router.lifespan_context
    assert ("or_over" in lifespan.__qualname__) == (name == SUCCESSOR)


def test_uvicorn_is_told_what_it_is_not_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    options = uvicorns_options(monkeypatch)
    assert options["ws"] == "none"
    for unwanted in ("proxy_headers", "server_header", "access_log"):
        assert options[unwanted] is False


@pytest.mark.parametrize(("drain", "seconds"), [("0", 1), ("0.4", 1), ("7", 7), ("60.2", 60)])
def test_a_server_that_stops_waits_for_as_long_as_the_settings_say(
    monkeypatch: pytest.MonkeyPatch, drain: str, seconds: int
) -> None:
    monkeypatch.setenv("CONVSCOPE_DRAIN", drain)
    assert uvicorns_options(monkeypatch)["timeout_graceful_shutdown"] == seconds


def test_what_is_logged_is_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSCOPE_LOG_LEVEL", "error")
    loggers = uvicorns_options(monkeypatch)["log_config"]["loggers"]
    assert {loggers[name]["level"] for name in ("uvicorn", "convscope")} == {"ERROR"}


def test_who_misspelt_a_setting_is_told_before_anything_is_served(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONVSCOPE_KEEPALIVE", "5")
    uvicorns_options(monkeypatch)
    assert capsys.readouterr().err == "warning: CONVSCOPE_KEEPALIVE is no setting; CONVSCOPE_KEEP_ALIVE is\n"


@pytest.mark.parametrize("run", ["run_one", "run_several"])
def test_a_server_starts_with_all_the_files_it_may_have_and_without_a_garbage_collector(
    monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    done: list[str] = []
    monkeypatch.setattr(sys, "argv", ["service", "--workers", "1" if run == "run_one" else "2"])
    monkeypatch.setenv("CONVSCOPE_WORKERS", "")  # which the argument sets
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(starter, "_allow_files", lambda: done.append("files"))
    monkeypatch.setattr(gc, "disable", lambda: done.append("no collector"))
    monkeypatch.setattr(f"service.workers.{run}", lambda _: done.append("served"))
    starter.main()
    assert done == ["files", "no collector", "served"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
@pytest.mark.parametrize("nohup", [False, True])
def test_one_process_that_is_to_outlive_its_terminal_does(nohup: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)
    try:
        starter._stop_on_hangup()
        assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) == nohup
    finally:
        signal.signal(signal.SIGHUP, before)


def test_who_asks_for_the_access_log_has_it_however_little_else_is_told() -> None:
    said = """
import logging.config
from service.__main__ import _logging
from service.middleware import access_log

logging.config.dictConfig(_logging("ERROR"))
access_log.info("GET /models 200")
for name in ("convscope", "uvicorn"):
    logging.getLogger(name).warning("nothing much")
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", said], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60, check=True
    )
    [line] = done.stderr.splitlines()
    assert line.endswith(" INFO convscope.access: GET /models 200")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such shell")
def test_where_standard_error_was_closed_a_misspelt_setting_keeps_nothing_from_starting() -> None:
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "service", "--host", NOWHERE]
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, env={**os.environ, "CONVSCOPE_KEEPALIVE": "5"}, timeout=60, check=False
    )
    assert done.returncode == STARTUP_FAILURE
