"""What uvicorn imports, where the settings cannot be used any more."""

import os
import subprocess
import sys

import pytest

from service.settings import ROOT

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
