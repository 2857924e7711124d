"""Commands where less is installed than here."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from service.settings import ROOT


def run_without(
    modules: Iterable[str], command: str, arguments: list[str], folder: Path
) -> "subprocess.CompletedProcess[str]":
    """`python -m COMMAND` where these modules are not found, in this folder."""
    code = f"""
import runpy, sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] in {list(modules)} else self.finder.find_spec(name, *rest)
sys.meta_path[:] = map(Without, sys.meta_path)
sys.path.insert(0, {str(ROOT)!r})
sys.argv[1:] = {arguments}
runpy.run_module({command!r}, run_name="__main__")
"""
    words = [sys.executable, "-c", code]
    return subprocess.run(words, check=False, capture_output=True, text=True, cwd=folder)  # noqa: S603
