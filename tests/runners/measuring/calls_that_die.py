"""Calls that stand in for a runtime's: they work, raise, crash, or never end."""

from __future__ import annotations

import os
import time


def add(one: int, other: int) -> int:
    """Works."""
    print("what runtimes print stands in nobody's way")
    return one + other


def where() -> int:
    """The process that it is in."""
    return os.getpid()


def refuse() -> None:
    """Raises."""
    raise KeyError("Softermax")


def crash() -> None:
    """Dies as native code does."""
    import ctypes

    ctypes.string_at(0)


def hang() -> None:
    """Never ends."""
    time.sleep(60)


def slow() -> str:
    """Answers late."""
    time.sleep(0.5)
    return "late"
