"""What made a model: processor, backend, code."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import keras


class Origin(NamedTuple):
    """Where a run was trained; it may be exported elsewhere."""

    hardware: str
    """such as "Intel(R) Xeon(R) Processor, 2 cores\""""
    backend: str
    """of Keras, such as "jax\""""
    version: str
    """the backend's"""


def here() -> Origin:
    """This process."""
    backend = keras.backend.backend()
    return Origin(hardware(), backend, sys.modules[backend].__version__)


def hardware() -> str:
    """An accelerator that Keras computes on, or processor and cores."""
    accelerators = [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]
    return ", ".join(accelerators) or processor()


def processor() -> str:
    """Its name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        models = [line.split(":")[1].strip() for line in lines if "model name" in line]
        name = models[0] if models else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} {'core' if cores == 1 else 'cores'}"


def commit() -> str | None:
    """The git commit of the code that made this, with "-dirty" where it had been changed; None outside git."""
    git = shutil.which("git")
    if git is None:
        return None
    command: list[Any] = [git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)  # noqa: S603
    return answer.stdout.strip() or None
