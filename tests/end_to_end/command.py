"""The quarry command as a user runs it: another process, its output, its exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

QUARRY = str(Path(sys.executable).with_name("quarry"))

# The digits recipe on a small space of the tests' own, with every budget small.
SMALL = (
    f"space.module={Path(__file__).with_name('small_space.py')}:small",
    "train.epochs=3",
    "measure.fit_networks=5",
    "measure.check_networks=3",
    "measure.seconds_each=0.02",
    "search.latency_ms=1.0",  # met by all of them, on any machine: how many are scored must not depend on it
    "search.budget=24",
    'search.searchers=["nsga2"]',
    "search.calibration_images=64",
    "compress.networks=1",
    "compress.recovery.epochs=1",
    "compress.calibration_images=32",
)


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said on standard error, and its exit code."""

    code: int
    error: str


Call = Callable[..., Said]


def settings(*pairs: str) -> list[str]:
    """``--set`` for each pair."""
    return [word for pair in pairs for word in ("--set", pair)]


def quarry(
    *arguments: str, folder: Path, timeout: float = 300, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [QUARRY, *arguments],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def kill_when(happened: Callable[[], bool], *arguments: str, folder: Path, timeout: float = 300) -> None:
    """Runs a command and kills it, with all it started, as soon as something has happened.

    Raises:
        AssertionError: it ended, or time ran out, before that.
    """
    with (folder / "killed.log").open("a") as log:
        process = subprocess.Popen(
            [QUARRY, *arguments], cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        until = time.monotonic() + timeout
        try:
            while not happened():
                assert process.poll() is None, (folder / "killed.log").read_text()[-2000:]
                assert time.monotonic() < until, "it never came to that"
                time.sleep(0.02)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
