"""What was measured on what."""

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from service.settings import ROOT, Settings
from tests.benchmarks.serving.bench import Cores

PACKAGES = (
    "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic", "numpy", "pillow", "onnxruntime", "openvino",
)  # fmt: skip
SETTINGS = {
    "engine", "precision", "engine_threads", "inline_run",
    "max_batch_rows", "max_batch_wait", "max_queue_rows", "max_queue_delay",
}  # fmt: skip
IDLE = 3  # the field of /proc/stat
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")


def idle(cores: Cores, seconds: float = 0.5) -> float:
    """The share of the time that the two cores have nothing to do: below nine tenths, something else is running."""
    names = {f"cpu{cores.server}", f"cpu{cores.load}"}
    before = _ticks(names)
    time.sleep(seconds)
    spent = [now - then for now, then in zip(_ticks(names), before, strict=True)]
    return spent[IDLE] / max(1, sum(spent))


def _ticks(names: set[str]) -> list[int]:
    """Of /proc/stat, by kind, added up over the cores."""
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    return [
        sum(map(int, kind)) for kind in zip(*(line[1:] for line in lines if line[0] in names), strict=True)
    ]


def machine(cores: Cores, idle_before: float) -> dict[str, Any]:
    """Processor, versions, commit, date, and the settings that decide."""
    settings = Settings()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _said("git", "rev-parse", "--short", "HEAD"),
        "changed since": bool(_said("git", "status", "--porcelain", "--untracked-files=no", "--", "service")),
        "processor": _cpu("model name"),
        "flags": [flag for flag in FLAGS if flag in _cpu("flags").split()],
        "cores": {"all": os.cpu_count(), "server": cores.server, "load": cores.load},
        "idle before": round(idle_before, 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "wrk": _said("wrk", "-v").split("[")[0].strip(),
        "settings": settings.model_dump(mode="json", include=SETTINGS),
    }


def _cpu(key: str) -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith(key)), platform.processor()
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except OSError:
        return ""
    return done.stdout.strip() or done.stderr.strip()
