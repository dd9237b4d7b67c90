"""One device never measures two things at once: a lock file per device, shared by all processes here."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def lock_path(device: str) -> Path:
    """The file that locks a device: in the machine's folder for temporary files, for all its users."""
    safe = "".join(letter if letter.isalnum() else "-" for letter in device)
    return Path(tempfile.gettempdir()) / f"quarry-device-{safe}.lock"


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


@contextmanager
def device_lock(
    device: str, *, patience_s: float = 600.0, waiting: Callable[[str], None] = _to_stderr
) -> Iterator[None]:
    """Holds the device; a process that dies lets go of it.

    Args:
        device: what must not be used twice at once (``cpu``, ``cuda:0``, an address).
        patience_s: seconds to wait for whoever has it.
        waiting: told once, in words, when there is something to wait for.

    Raises:
        OSError: still taken after ``patience_s``; the message names the process that has it.
    """
    path = lock_path(device)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        end = time.monotonic() + patience_s
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                if not told:
                    waiting(f"device {device} is measuring for process {holder}; waiting for it to finish")
                    told = True
                if time.monotonic() >= end:
                    raise OSError(
                        f"device {device} is still measuring for process {holder} after {patience_s:.0f} s; "
                        f"wait for it or end it (lock file {path})"
                    ) from None
                time.sleep(0.05)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
