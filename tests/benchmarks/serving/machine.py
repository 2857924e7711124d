"""What was measured on what."""

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from service.engines import choose
from service.settings import ROOT, Settings
from tests.benchmarks.serving.bench import Cores

PACKAGES = (
    "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic", "numpy", "pillow", "onnxruntime", "openvino",
)  # fmt: skip
SETTINGS = {
    "engine", "precision", "engine_threads", "inline_run",
    "max_batch_rows", "max_batch_wait", "max_queue_rows", "max_queue_delay",
}  # fmt: skip
"""told always; of the others those that are set to something else than their defaults"""
DECIDED_HERE = {"workers", "host", "port", "log_level"}
"""those that the benchmark sets itself"""
MEASURED = ("service", "artifacts")
"""folders whose changes make it another service than the commit's, as do new files there: a version of a model"""
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
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _said("git", "rev-parse", "--short", "HEAD") or "unknown",
        "changed since": bool(_said("git", "status", "--porcelain", "--", *MEASURED)),
        "processor": _cpu("model name"),
        "flags": [flag for flag in FLAGS if flag in _cpu("flags").split()],
        "cores": {
            "all": os.cpu_count(),
            "allowed": sorted(os.sched_getaffinity(0)),
            "server": cores.server,
            "load": cores.load,
        },
        "idle before": round(idle_before, 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "wrk": _said("wrk", "-v", status=1).split("[")[0].strip(),  # which it ends with after every -v
        "engine": choose(Settings().engine),  # which the setting `auto` leaves open
        "settings": _settings(),
    }


def _settings() -> dict[str, Any]:
    settings = Settings()
    changed = {name for name, of in Settings.model_fields.items() if getattr(settings, name) != of.default}
    return settings.model_dump(mode="json", include=(SETTINGS | changed) - DECIDED_HERE)


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


def _said(*command: str, status: int = 0) -> str:
    """On standard output; nothing unless it ended with this status: what it says else is no answer."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == status else ""
