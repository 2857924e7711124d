import ctypes
import platform
from pathlib import Path

import pytest

from service.memory import give_back

BLOCKS, BYTES = 32_768, 2_000  # 64 MB, each block too small to be the system's own
PAGE = 4096


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do it by themselves")
def test_what_was_freed_below_something_that_stays_goes_back_to_the_system() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    blocks = [libc.malloc(BYTES) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BYTES)
    for block in blocks[:-1]:
        libc.free(ctypes.c_void_p(block))
    kept = resident()
    give_back()
    assert kept - resident() > BLOCKS * BYTES / 2
    libc.free(ctypes.c_void_p(blocks[-1]))
