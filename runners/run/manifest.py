"""What worked on a run: every command with its versions, every stage with its seed and costs; run.json."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from results.files import write_json
from results.records import Manifest, Session, StageSession, read_record
from results.report.costs import spent_macs
from results.report.sources import read_run
from runners.measuring.power import EnergyMeter
from runners.processor import processor_seconds
from runners.run.provenance import commit, versions

FILE = "run.json"
_LEAST_S = 0.01  # of a process that was killed before it said a word; 0 is one at work


class Keeper:
    """Keeps the manifest of a run while a command works on it; commands that work on no stage leave none.

    Args:
        folder: folder of the run, just opened: its log is still that of the last process.
        command: command as it was called.

    Raises:
        ValueError: the manifest is damaged.
    """

    def __init__(self, folder: Path, command: str) -> None:
        self._folder, self._file, self._command = folder, folder / FILE, command
        self._manifest, self._begun = Manifest(), False
        if self._file.exists():
            try:
                self._manifest = read_record(Manifest, self._file)
            except ValueError as error:
                raise ValueError(
                    f"{error}. Nothing else needs {FILE}: without it only the list of commands is lost"
                ) from None
        log = folder / "log.txt"
        if log.exists():
            closed = _closed(self._manifest, log.stat().st_mtime)
            if closed != self._manifest:  # at once: whatever this command says makes the log a later one
                self._write(closed.sessions)

    def begin(self, stage: str, seed: int) -> None:
        """A stage begins."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        sessions = self._manifest.sessions
        if not self._begun:
            new = Session(command=self._command, date=now, commit=commit(), versions=versions())
            sessions, self._begun = (*sessions, new), True
        last = replace(
            sessions[-1], stages=(*sessions[-1].stages, StageSession(stage=stage, seed=seed, began=now))
        )
        self._write((*sessions[:-1], last))
        self._clock, self._cpu, self._energy = time.monotonic(), processor_seconds(), EnergyMeter()

    def end(self, *, finished: bool) -> None:
        """The stage that began last ends."""
        seconds = time.monotonic() - self._clock
        *sessions, last = self._manifest.sessions
        stage = last.stages[-1].stage
        before = self._manifest.macs(stage)
        now = spent_macs(read_run(self._folder)).get(stage, {})
        ended = replace(
            last.stages[-1],
            seconds=round(seconds, 2),
            cpu_seconds=round(processor_seconds() - self._cpu, 2),
            gpu_seconds=round(seconds, 2) if _on_gpu() else 0.0,
            joules=self._energy.stop(),
            macs={kind: more for kind, macs in now.items() if (more := macs - before.get(kind, 0.0)) > 0},
            finished=finished,
        )
        self._write((*sessions, replace(last, stages=(*last.stages[:-1], ended))))

    def put_aside(self, stages: Collection[str]) -> None:
        """What these stages made is put aside."""
        marked = _changed(
            self._manifest, lambda one: replace(one, put_aside=True) if one.stage in stages else one
        )
        if marked != self._manifest:
            self._write(marked.sessions)

    def seconds(self, stage: str) -> float:
        """Time that went into what a stage has now, all sessions of it."""
        return self._manifest.seconds(stage)

    def _write(self, sessions: tuple[Session, ...]) -> None:
        self._manifest = replace(self._manifest, sessions=sessions)
        write_json(self._file, self._manifest.to_json())


def _closed(manifest: Manifest, last_word: float) -> Manifest:
    """The manifest with the time of a process that was killed: until its last word, a time of the system."""

    def close(one: StageSession) -> StageSession:
        if one.finished or one.seconds:
            return one
        began = datetime.fromisoformat(one.began).timestamp()
        return replace(one, seconds=round(max(_LEAST_S, last_word - began), 2))

    return _changed(manifest, close)


def _changed(manifest: Manifest, change: Callable[[StageSession], StageSession]) -> Manifest:
    return replace(
        manifest,
        sessions=tuple(replace(one, stages=tuple(map(change, one.stages))) for one in manifest.sessions),
    )


def _on_gpu() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())
