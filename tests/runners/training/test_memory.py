"""Freed memory is kept for the next step, unless the environment says otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from runners.training import memory

FAULTS = """
import ctypes, resource
from runners.training.memory import keep_freed_memory
keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
def touch():
    blocks = [libc.malloc(4 << 20) for _ in range(16)]
    for block in blocks:
        ctypes.memset(block, 1, 4 << 20)
    for block in blocks:
        libc.free(block)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 4 * 64 * 2**20 // 4096  # that are handed out anew where memory is not kept

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of glibc")


def faults(**environment: str) -> int:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_pages_are_not_handed_out_again_and_again() -> None:
    assert faults() < PAGES / 20


def test_what_the_environment_says_is_left() -> None:
    assert faults(MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072") > PAGES / 2


@pytest.mark.parametrize(("most", "set_to"), [(2**40, {-3: 64 << 20}), (32 << 20, {-3: 32 << 20}), (0, {})])
def test_an_older_library_is_asked_for_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, most: int, set_to: dict[int, int]
) -> None:
    """It refuses large blocks; the threshold of trimming without them would be worse than nothing."""
    done: dict[int, int] = {}

    def mallopt(key: int, value: int) -> int:
        if key == -3 and value > most:
            return 0
        done[key] = value
        return 1

    for name in [one for one in os.environ if one.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    memory.keep_freed_memory.__wrapped__()
    assert done == ({**set_to, -1: 512 << 20} if set_to else {})
