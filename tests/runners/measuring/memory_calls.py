"""Loaders that take memory, fail or die, as the memory of a process is measured with them."""

import os
import signal


def takes(file: str, job: dict[str, object]) -> object:
    """A call that takes 30 MB for a moment, of a file of 40 MB."""
    kept = bytearray(b"1") * 40_000_000
    return lambda: len(kept) + len(bytearray(b"1") * 30_000_000)


def fails(file: str, job: dict[str, object]) -> object:
    raise RuntimeError("no such operator")


def dies(file: str, job: dict[str, object]) -> object:
    os.kill(os.getpid(), signal.SIGSEGV)
    return None
