"""What is told of the machine and the commit."""

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.benchmarks.serving import machine as module
from tests.benchmarks.serving.bench import Cores
from tests.benchmarks.serving.machine import machine
from tests.benchmarks.serving.tables import heading


def git(folder: Path, *words: str) -> None:
    somebody = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *somebody, *words], cwd=folder, check=True, capture_output=True)  # noqa: S603, S607


def test_without_a_repository_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "ROOT", tmp_path)
    facts = machine(Cores.allowed(), idle_before=1.0)
    assert (facts["commit"], facts["changed since"]) == ("unknown", False)
    assert "commit unknown, " in heading(facts)


def test_what_a_command_says_that_fails_is_no_answer() -> None:
    assert module._said("sh", "-c", "echo said; exit 3") == ""
    assert module._said("sh", "-c", "echo said; exit 3", status=3) == "said"
    assert module._said("no such command") == ""


@pytest.mark.parametrize("folder", ["service", "artifacts"])
def test_changes_to_what_is_measured_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / folder).mkdir()
    file = tmp_path / folder / "file"
    file.write_text("before")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "all")
    facts = machine(Cores.allowed(), idle_before=1.0)
    assert len(facts["commit"]) >= 7
    assert not facts["changed since"]
    (tmp_path / folder / "another").write_text("new")
    assert machine(Cores.allowed(), idle_before=1.0)["changed since"]
    (tmp_path / folder / "another").unlink()
    file.write_text("after")
    assert machine(Cores.allowed(), idle_before=1.0)["changed since"]


@pytest.mark.parametrize("setting", ["auto", "onnxruntime"])
def test_the_engine_that_runs_is_told_whatever_the_setting_leaves_open(
    monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("CONVSCOPE_ENGINE", setting)
    runs = "openvino" if setting == "auto" and find_spec("openvino") else "onnxruntime"
    facts = machine(Cores.allowed(), idle_before=1.0)
    assert facts["engine"] == runs
    assert f"engine {runs}; settings: engine {setting}" in heading(facts)


def test_the_cores_that_this_process_may_use_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 3})
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    cores = machine(Cores(3, 5), idle_before=1.0)["cores"]
    assert cores == {"all": 8, "allowed": [3, 5], "server": 3, "load": 5}


def test_every_setting_that_is_not_its_default_is_told_but_those_decided_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = module._settings()
    monkeypatch.setenv("CONVSCOPE_DEADLINE", "3")
    monkeypatch.setenv("CONVSCOPE_LOG_LEVEL", "debug")
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    assert module._settings() == before | {"deadline": 3.0}
