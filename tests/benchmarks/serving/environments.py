"""A throw-away Python environment for each peer, kept between runs under build/benchmark/."""

import platform
import shutil
import subprocess
import sys
from importlib.metadata import distributions, version
from pathlib import Path

from service.settings import ROOT
from tests.benchmarks.serving.bench import FOLDER
from tests.benchmarks.serving.errors import BenchmarkError

INSTALL_LIMIT = 900.0  # seconds
SAME = ("onnxruntime", "pillow", "numpy")
"""at the project's own versions: only the server differs"""
STACK = ("uvicorn", "httptools", "h11", "uvloop", "starlette", "fastapi", *SAME)
"""what a server stands on, and is as quick as"""


def environment(name: str, requirement: str, *extra: str) -> Path:
    """The folder of an environment with the requirement in it, made when it is missing.

    Raises BenchmarkError with the installer's last line when it cannot be.
    """
    folder = FOLDER / f"{name}-{requirement.partition('==')[2]}"
    wanted = [requirement, *extra, *(f"{package}=={version(package)}" for package in SAME)]
    recipe = [f"python=={platform.python_version()}", *wanted]
    complete = folder / "complete.txt"
    if not complete.exists() or complete.read_text().split() != recipe:
        shutil.rmtree(folder, ignore_errors=True)
        _install(folder, wanted)
        complete.write_text("\n".join(recipe))
    return folder


def stack(folder: Path) -> dict[str, str]:
    """The versions of what is there of STACK in an environment."""
    found = {one.name.lower(): one.version for one in distributions(path=_places(folder))}
    return {package: found[package] for package in STACK if package in found}


def _places(folder: Path) -> list[str]:
    return [str(place) for place in folder.glob("lib/python*/site-packages")]


def _install(folder: Path, wanted: list[str]) -> None:
    uv = shutil.which("uv") or (ROOT / ".uv" / "bin" / "uv")
    python = folder / "bin" / "python"
    if Path(uv).exists():
        _run([uv, "venv", "--quiet", "--python", sys.executable, folder])
        _run([uv, "pip", "install", "--quiet", "--python", python, *wanted])
    else:
        _run([sys.executable, "-m", "venv", folder])
        _run([python, "-m", "pip", "install", "--quiet", *wanted])


def _run(command: list[str | Path]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchmarkError(f"cannot be installed: {error}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise BenchmarkError(f"cannot be installed: {lines[-1] if lines else 'no reason given'}")
