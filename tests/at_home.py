"""What a process leaves in the home of who runs it."""

import subprocess
import sys
from pathlib import Path

from service.settings import ROOT


def left_at_home(home: Path, statement: str, *arguments: str | Path) -> list[str]:
    """The files, by their paths in `home`, of a Python process with an environment that holds nothing else: neither
    tests nor builds are told from the rest. A variable that is empty is none."""
    command = [sys.executable, "-c", statement, *map(str, arguments)]
    environment = {"HOME": str(home), "ORT_DISABLE_TELEMETRY": ""}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stderr=subprocess.DEVNULL)  # noqa: S603
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
