"""What a command costs: processor seconds of all its processes, those included that nobody waits for.

The kernel adds a process's seconds to its parent's when the parent waits for it, so the number for a command
covers what it started and waited for: what ``time`` prints. Two kinds escape that. Processes whose parent
died first: they are handed to us (we ask the kernel for it) and waited for. And children of a process that
ignores their end, as Ray's raylet does with its workers: they are read while they live, twice a second, so
that half a second of each may be missed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from results.records import Record

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_EVERY_S = 0.5
_PATIENCE_S = 30.0  # for what a command left behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost(Record):
    """What a command cost.

    Attributes:
        cpu_s: seconds of processors, user and system, of all its processes.
        wall_s: seconds that it took.
    """

    cpu_s: float
    wall_s: float


class CommandError(ValueError):
    """A command that did not end well; the message has its last words."""


def run_costed(
    command: Sequence[str], *, cores: Sequence[int], log: Path, environment: Mapping[str, str] | None = None
) -> Cost:
    """Runs a command on some cores and says what it cost.

    Args:
        command: program and arguments.
        cores: processors that it and all it starts may use.
        log: file that takes what it prints.
        environment: variables beside or instead of ours.

    Raises:
        CommandError: it ended with another code than 0.
    """
    _adopt_orphans()
    log.parent.mkdir(parents=True, exist_ok=True)
    mine = psutil.Process()
    known = {child.pid for child in mine.children()}
    unwaited: dict[int, float] = {}
    began, cpu_s = time.monotonic(), 0.0
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            preexec_fn=lambda: _pin(cores),
            start_new_session=True,
        )
        try:
            code: int | None = None
            while code is None:
                time.sleep(_EVERY_S if time.monotonic() - began > 2 * _EVERY_S else 0.02)
                _note_unwaited(mine, known, unwaited)
                for pid, ended, used_s in _reap(mine, known):
                    cpu_s += used_s
                    unwaited.pop(pid, None)
                    code = ended if pid == process.pid else code
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            raise
        process.returncode = code  # we waited for it
        wall_s = time.monotonic() - began
        cpu_s += _reap_rest(mine, known, unwaited)
    if code:
        last = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise CommandError(f"{' '.join(command[:6])} ... ended with {code}: {' / '.join(last)} (see {log})")
    return Cost(cpu_s=cpu_s + sum(unwaited.values()), wall_s=wall_s)


def _adopt_orphans() -> None:
    """Asks Linux to hand us the processes whose parent dies; elsewhere they are missed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _pin(cores: Sequence[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _reap(mine: psutil.Process, known: set[int]) -> list[tuple[int, int, float]]:
    """Pid, exit code and seconds of those of our new children that ended."""
    found = []
    for child in mine.children():
        if child.pid not in known:
            with suppress(ChildProcessError):
                pid, status, usage = os.wait4(child.pid, os.WNOHANG)
                if pid:
                    seconds = usage.ru_utime + usage.ru_stime
                    found.append((pid, os.waitstatus_to_exitcode(status), seconds))
    return found


def _note_unwaited(mine: psutil.Process, known: set[int], unwaited: dict[int, float]) -> None:
    """Notes what processes have used whose parent ignores the end of its children."""
    ignoring: dict[int, bool] = {}
    for one in mine.children(recursive=True):
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            parent = one.ppid()
            if one.pid in known or parent in known or parent == mine.pid:
                continue
            if parent not in ignoring:
                ignoring[parent] = _ignores_children(parent)
            if ignoring[parent]:
                times = one.cpu_times()
                unwaited[one.pid] = sum(
                    (times.user, times.system, times.children_user, times.children_system)
                )


def _ignores_children(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return False
    masks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigIgn:")]
    return any(int(mask, 16) >> (signal.SIGCHLD - 1) & 1 for mask in masks)


def _reap_rest(mine: psutil.Process, known: set[int], unwaited: dict[int, float]) -> float:
    """Waits for what the command left behind, ends what does not end by itself; gives their seconds."""
    until, seconds = time.monotonic() + _PATIENCE_S, 0.0
    while left := [child for child in mine.children() if child.pid not in known]:
        _note_unwaited(mine, known, unwaited)
        for pid, _, used_s in _reap(mine, known):
            seconds += used_s
            unwaited.pop(pid, None)
        if time.monotonic() > until:
            for child in left:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        time.sleep(0.05)
    return seconds
