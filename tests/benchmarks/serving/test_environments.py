"""How the peers are installed."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.serving import environments
from tests.benchmarks.serving.environments import SAME, environment, stack
from tests.benchmarks.serving.errors import BenchmarkError

PINNED = [f"{package}=={version(package)}" for package in SAME]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What the installer is told; it makes the folder, and no more."""
    told: list[list[str]] = []

    def run(command: list[str | Path], **_: Any) -> SimpleNamespace:
        told.append([str(word) for word in command])
        (tmp_path / "server-1.2").mkdir(exist_ok=True)
        return SimpleNamespace(returncode=0, stdout="", stderr="")

    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setattr(subprocess, "run", run)
    return told


def test_a_peer_is_installed_once_with_the_projects_own_versions(
    commands: list[list[str]], tmp_path: Path
) -> None:
    assert environment("server", "server==1.2", "more==3") == tmp_path / "server-1.2"
    assert commands[-1][-2 - len(PINNED) :] == ["server==1.2", "more==3", *PINNED]
    count = len(commands)
    environment("server", "server==1.2", "more==3")
    assert len(commands) == count
    environment("server", "server==1.2", "more==4")
    assert len(commands) == 2 * count


def test_another_python_takes_another_environment(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    environment("server", "server==1.2")
    count = len(commands)
    monkeypatch.setattr(platform, "python_version", lambda: "3.99.1")
    environment("server", "server==1.2")
    assert len(commands) == 2 * count
    assert not any("3.99.1" in word for command in commands for word in command)  # no package of this name


def test_what_a_server_stands_on_is_read_in_its_own_environment(tmp_path: Path) -> None:
    for name in ("uvicorn-0.99.dist-info", "NumPy-9.8.dist-info", "mlserver-1.7.1.dist-info"):
        folder = tmp_path / "lib" / "python3.99" / "site-packages" / name
        folder.mkdir(parents=True)
        package, number = name.removesuffix(".dist-info").split("-")
        (folder / "METADATA").write_text(f"Name: {package}\nVersion: {number}\n")
    assert stack(tmp_path) == {"uvicorn": "0.99", "numpy": "9.8"}
    assert stack(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("stderr", "said"), [("downloading\nno space left\n", "no space left"), ("", "no reason given")]
)
def test_an_installer_that_fails_is_told_and_begins_anew(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]], tmp_path: Path, stderr: str, said: str
) -> None:
    failing = SimpleNamespace(returncode=1, stdout="", stderr=stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failing)
    with pytest.raises(BenchmarkError, match=f"cannot be installed: {said}"):
        environment("server", "server==1.2")
    assert not (tmp_path / "server-1.2" / "complete.txt").exists()
