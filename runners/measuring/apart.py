"""Native code in a process of its own: one that crashes or hangs costs the call that it was at, and no more.

A module of *calls* is plain functions of JSON values over one runtime; it imports little, as it is loaded for
each measurement. ``Apart`` calls it; ``python -m runners.measuring.apart time MODULE JOB RESULT`` times files
with its ``load``, as ``measure_apart`` wants it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results.loading import load_module
from runners.measuring.stopwatch import measure_files, words_of

PATIENCE_S = 300.0
"""Seconds of one call after which a process is taken to hang."""


class Apart:
    """Calls functions of a module in a process of its own, which lives as long as this does.

    Args:
        module: name of a module of calls.
        patience_s: seconds that a call may take.
        program: command in the place of this Python, for calls that need another one: it is given the number
            of the descriptor for its answers, and answers lines as ``serve`` does.
    """

    def __init__(
        self, module: str, *, patience_s: float = PATIENCE_S, program: Sequence[str | Path] = ()
    ) -> None:
        self._module, self._patience_s, self._program = module, patience_s, tuple(program)
        self._process: subprocess.Popen[str] | None = None
        self._answers = -1
        self._lock = threading.Lock()

    def call(self, function: str, **arguments: Any) -> Any:
        """What a function gives.

        Args:
            function: its name in the module.
            arguments: values that JSON can write; what it gives is such a value too.

        Raises:
            ValueError: it raised, crashed or did not end in time; says which. The next call begins anew.
        """
        with self._lock:
            process = self._process if self._process and self._process.poll() is None else self._start()
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps([function, arguments]) + "\n")
                process.stdin.flush()
                line = self._answer()
            except BrokenPipeError:
                line = ""
            except TimeoutError:
                self._end()
                raise ValueError(f"the runtime did not end within {self._patience_s:.0f} s") from None
            except BaseException:  # stopped in between: the next call must not be given this one's answer
                self._end()
                raise
            if not line:
                words = self._last_words(process)
                self._end()
                raise ValueError(words)
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["result"]

    def _start(self) -> subprocess.Popen[str]:
        self._end()
        answers, write = os.pipe()
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the process
        ours = [sys.executable, "-m", "runners.measuring.apart", "serve", self._module]
        self._process = subprocess.Popen(
            [*(self._program or ours), str(write)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # runtimes write there what nobody asked
            stderr=self._said,
            pass_fds=(write,),
            text=True,
            env=environment(),
        )
        os.close(write)
        self._answers = answers
        return self._process

    def _answer(self) -> str:
        """One line; nothing where the process ended first."""
        parts: list[bytes] = []
        while True:
            ready, _, _ = select.select([self._answers], [], [], self._patience_s)
            if not ready:
                raise TimeoutError
            part = os.read(self._answers, 1 << 16)
            parts.append(part)
            if not part or part.endswith(b"\n"):
                return b"".join(parts).decode()

    def _last_words(self, process: subprocess.Popen[str]) -> str:
        code = process.wait()
        if code < 0:
            return f"the runtime crashed: {how_it_died(code)}"
        self._said.seek(0)
        last = self._said.read().strip().splitlines()[-1:] or [f"it ended with code {code}"]
        return f"the runtime cannot be started: {last[0]}"

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._said.close()
        os.close(self._answers)
        self._process = None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # Python may be half gone
            self._end()


def how_it_died(code: int) -> str:
    """The signal that ended a process, in words; ``code`` is what Python says of it, below zero."""
    try:
        return (signal.strsignal(-code) or f"signal {-code}").lower()
    except ValueError:
        return f"signal {-code}"


def environment() -> dict[str, str]:
    """Variables with which another Python finds the modules that this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def serve(module: str, answers: int) -> None:
    """Answers the calls of its standard input until that ends."""
    calls = load_module(module)
    with os.fdopen(answers, "w") as out:
        for line in sys.stdin:
            function, arguments = json.loads(line)
            try:
                answer = {"result": getattr(calls, function)(**arguments)}
            except Exception as error:  # whatever a runtime raises
                answer = {"error": words_of(error)}
            out.write(json.dumps(answer) + "\n")
            out.flush()


def main(arguments: Sequence[str]) -> None:
    """Serves calls, or times the files of a job."""
    match arguments:
        case ["serve", module, answers]:
            serve(module, int(answers))
        case ["time", module, request, result]:
            timings = measure_files(json.loads(Path(request).read_text()), load_module(module).load)
            Path(result).write_text(json.dumps([asdict(timing) for timing in timings]))
        case _:
            raise SystemExit("usage: apart serve MODULE FD | apart time MODULE JOB RESULT")


if __name__ == "__main__":
    main(sys.argv[1:])
