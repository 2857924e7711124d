"""A throw-away Python environment for each peer, kept between runs under build/benchmark/."""

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from service.settings import ROOT
from tests.benchmarks.serving.bench import FOLDER
from tests.benchmarks.serving.errors import BenchmarkError

INSTALL_LIMIT = 900.0  # seconds
SAME = ("onnxruntime", "pillow", "numpy")
"""at the project's own versions: only the server differs"""


def environment(name: str, requirement: str, *extra: str) -> Path:
    """The folder of an environment with the requirement in it, made when it is missing.

    Raises BenchmarkError with the installer's last line when it cannot be.
    """
    folder = FOLDER / f"{name}-{requirement.partition('==')[2]}"
    wanted = [requirement, *extra, *(f"{package}=={version(package)}" for package in SAME)]
    complete = folder / "complete.txt"
    if not complete.exists() or complete.read_text().split() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        _install(folder, wanted)
        complete.write_text("\n".join(wanted))
    return folder


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
