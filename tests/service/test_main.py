"""What uvicorn imports, where the settings cannot be used any more; and what is logged."""

import os
import subprocess
import sys

import pytest
from uvicorn.config import STARTUP_FAILURE

from service.settings import ROOT

NOWHERE = f"{'a' * 64}.example"  # no name of a host: the service gets as far as to listen
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


def test_who_asks_for_the_access_log_has_it_however_little_else_is_told() -> None:
    said = """
import logging.config
from service.__main__ import _logging
from service.middleware import access_log

logging.config.dictConfig(_logging("ERROR"))
access_log.info("GET /models 200")
for name in ("convscope", "uvicorn"):
    logging.getLogger(name).warning("nothing much")
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", said], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60, check=True
    )
    [line] = done.stderr.splitlines()
    assert line.endswith(" INFO convscope.access: GET /models 200")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such shell")
def test_where_standard_error_was_closed_a_misspelt_setting_keeps_nothing_from_starting() -> None:
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "service", "--host", NOWHERE]
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, env={**os.environ, "CONVSCOPE_KEEPALIVE": "5"}, timeout=60, check=False
    )
    assert done.returncode == STARTUP_FAILURE
