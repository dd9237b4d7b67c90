"""Commands of quarry in processes of their own that start at once: forks of one that has loaded all."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOADED = (
    "onnxruntime",
    "optuna",
    "pandas",
    "runners.cli.app",
    "runners.compressing.commands",
    "runners.run.verifying",
    "runners.run.work",
)
_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What came of a command.

    Attributes:
        code: its exit code; below zero the signal that ended it.
        out: what it said on standard output.
        error: what it said on standard error.
        cpu_s: processor seconds that it took, with those of processes it waited for.
    """

    code: int
    out: str
    error: str
    cpu_s: float


def load() -> None:
    """Imports what commands need, so that a fork of this process does not have to."""
    for name in _LOADED:
        importlib.import_module(name)


@dataclass(slots=True)
class Command:
    """A command at work, in a session of its own.

    Args:
        arguments: words after ``quarry``.
        folder: folder that it works in; its output goes to files there.
        before: called in the new process first: it may set limits, or another clock.
    """

    arguments: Sequence[str]
    folder: Path
    before: Callable[[], object] = lambda: None
    pid: int = 0

    def start(self) -> Command:
        """Begins; the process that calls goes on."""
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            self._work()
        return self

    def _work(self) -> None:
        """The life of the new process, which does not return."""
        code = 70
        try:
            os.setsid()
            for name, number in (("out", 1), ("error", 2)):
                os.dup2(os.open(self._file(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            os.chdir(self.folder)
            sys.argv = ["quarry", *self.arguments]
            self.before()
            importlib.import_module("runners.cli.app").main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _file(self, name: str) -> Path:
        return self.folder / f"said-{name}.txt"

    def end(self, patience_s: float = _PATIENCE_S) -> Said:
        """Waits for its end; one that takes too long is killed."""
        until = time.monotonic() + patience_s
        while True:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > until:
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.02)
        return Said(
            code=os.waitstatus_to_exitcode(status),
            out=self._file("out").read_text(errors="replace"),
            error=self._file("error").read_text(errors="replace"),
            cpu_s=used.ru_utime + used.ru_stime,
        )

    def kill_after(self, cpu_s: float) -> Said:
        """Kills it, and all that it started, when it has used so much processor time."""
        while self._cpu_s() < cpu_s:
            time.sleep(0.003)
        os.killpg(self.pid, signal.SIGKILL)
        return self.end()

    def kill_when(self, happened: Callable[[], bool]) -> Said:
        """Kills it as soon as something has happened."""
        while not happened() and self._cpu_s() < float("inf"):
            time.sleep(0.003)
        os.killpg(self.pid, signal.SIGKILL)
        return self.end()

    def _cpu_s(self) -> float:
        """Processor seconds until now; infinite when it has ended."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return float("inf") if fields[0] == "Z" else sum(map(int, fields[11:15])) / _TICKS


def quarry(arguments: Sequence[str], folder: Path, *, before: Callable[[], object] = lambda: None) -> Said:
    """What comes of a command."""
    return Command(arguments, folder, before).start().end()


def files_at_most(size_bytes: int) -> Callable[[], None]:
    """Lets no file of a process grow further, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))
