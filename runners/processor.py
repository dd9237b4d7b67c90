"""Processor time of this process and of all that works for it."""

from __future__ import annotations

import os

_WORKERS: dict[str, float] = {}


def note_worker(name: str, seconds: float) -> None:
    """Notes what a worker says that its process has used so far: nobody waits for Ray's, so the system does
    not add them to ours.

    Args:
        name: name of the worker, which no other one has.
        seconds: processor time of its process, user and system.
    """
    _WORKERS[name] = max(_WORKERS.get(name, 0.0), seconds)


def processor_seconds() -> float:
    """User and system time of this process, of its children that ended, and of noted workers."""
    return sum(os.times()[:4]) + sum(_WORKERS.values())
