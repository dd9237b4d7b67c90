"""What is freed after one training step is kept for the next one."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# Bytes of a block that comes out of kept memory; activations of a batch are smaller. The second is the most
# that glibc takes before 2.35.
_LARGEST = (64 * 2**20, 32 * 2**20)
_KEPT = 512 * 2**20  # bytes


@cache
def keep_freed_memory() -> None:
    """Has the C library keep up to 512 MB of freed memory, once for the process.

    By default glibc gives what a step frees back to the kernel, which hands it out again, page by page:
    2,700 page faults a step of a small ResNet, 5 to 20 % of its time. Nothing is done where another C
    library is used, or where the environment says how memory is to be kept.
    """
    told = any(name.startswith("MALLOC_") for name in os.environ)
    if not sys.platform.startswith("linux") or told or "malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # The second alone would leave blocks of 128 kB and more to the kernel for good.
    if mallopt is not None and any(mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGEST):
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
