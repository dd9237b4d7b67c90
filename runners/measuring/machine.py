"""What the machine at hand is, in words that tell it from another."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

BUSY_CORES = 0.25  # as much disturbs what is measured meanwhile


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> list[int]:
    """The cores this process may use, as the system numbers them."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def machine_fingerprint() -> str:
    """Processor, cores, architecture and system; the same on every run on the same machine."""
    return f"{cpu_model()} x{len(cores())} {platform.machine()} {platform.system()}"


def busy_cores(seconds: float = 0.5) -> float:
    """How many cores other programs keep busy: what the machine does while this process waits."""
    return float(psutil.cpu_percent(interval=seconds)) / 100 * (os.cpu_count() or 1)
