"""What is done to a job, and how it ends: kills, damaged files, a full disk, two processes, another clock."""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.reliability.commands import Command, Said, files_at_most, quarry
from tests.benchmarks.reliability.jobs import Job, results_of

Say = Callable[[str], object]
DAMAGES = ("truncated", "emptied", "deleted")
_SCRATCH = ("log.txt", ".lock")  # what nobody reads back
_A_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A job that nobody disturbed.

    Attributes:
        job: the job.
        folder: where it ran.
        results: what it came to.
        cpu_s: processor seconds that it took.
    """

    job: Job
    folder: Path
    results: dict[str, Any]
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a job ended that was disturbed.

    Attributes:
        what: what was done to it.
        how: ``same`` result, ``refused`` with a sentence, or ``WRONG``.
        words: the sentence, or what is wrong.
        repeated: processor time that was spent again, as a share of the whole job's; None where not counted.
    """

    what: str
    how: str
    words: str = ""
    repeated: float | None = None


def undisturbed(job: Job, folder: Path) -> Whole:
    """Runs a job to its end, unless that was done.

    Raises:
        RuntimeError: it fails.
    """
    taken = folder / "cpu_s.json"
    if not taken.exists():
        shutil.rmtree(folder, ignore_errors=True)
        job.begin(folder)
        said = quarry(job.arguments, folder)
        if said.code:
            raise RuntimeError(f"{job.name} fails undisturbed: {said.error}")
        taken.write_text(json.dumps(said.cpu_s))
    return Whole(
        job=job,
        folder=folder,
        results=results_of(folder / "run"),
        cpu_s=json.loads(taken.read_text()),
    )


# -- kill -9 ---------------------------------------------------------------------------------------


def killed(whole: Whole, scratch: Path, moments: int, seed: int) -> Iterator[Ending]:
    """Kills the job at random moments, one each time, and starts the same command again."""
    drawn = random.Random(seed)
    for number in range(moments):
        cpu_s = drawn.uniform(0.02, 0.98) * whole.cpu_s
        folder = scratch / f"killed-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        whole.job.begin(folder)
        first = Command(whole.job.arguments, folder).start().kill_after(cpu_s)
        run = folder / "run"
        stages = _finished(run)
        where = (
            f"{cpu_s / whole.cpu_s:.0%}, {len(stages)} stages finished"
            if stages
            else f"{cpu_s / whole.cpu_s:.0%}"
        )
        logs, files = _logs(run), _files(run, stages)
        said = quarry(whole.job.arguments, folder)
        ending = _ended(f"killed at {where}", whole, run, said)
        if ending.how == "same":
            kept = {name: lines for name, lines in logs.items() if name in whole.results}
            ending = _nothing_redone(ending, run, kept, files)
        again = (first.cpu_s + said.cpu_s) / whole.cpu_s - 1
        yield Ending(what=ending.what, how=ending.how, words=ending.words, repeated=again)
        if ending.how == "same":
            shutil.rmtree(folder)


def _finished(run: Path) -> list[str]:
    file = run / "stages.json"
    return list(json.loads(file.read_text())) if file.exists() else []


def _logs(run: Path) -> dict[str, list[str]]:
    """The whole lines of logs that work is kept in."""
    return {
        str(file.relative_to(run)): file.read_text(errors="replace").split("\n")[:-1]
        for file in run.rglob("*.jsonl")
    }


def _files(run: Path, stages: Sequence[str]) -> dict[str, int]:
    """When files of finished stages were written."""
    return {
        str(file.relative_to(run)): file.stat().st_mtime_ns
        for stage in stages
        if stage in ("measure", "train", "search", "compress")  # whose folder is called like it
        for file in (run / stage).rglob("*")
        # Of the search, beside the weights; of the export, beside what was compressed.
        if file.is_file() and file.name != "scores.jsonl" and file.stem != "largest"
    }


def _nothing_redone(ending: Ending, run: Path, logs: dict[str, list[str]], files: dict[str, int]) -> Ending:
    now = _logs(run)
    lost = [name for name, lines in logs.items() if now.get(name, [])[: len(lines)] != lines]
    again = [name for name, when in files.items() if (run / name).stat().st_mtime_ns != when]
    if not lost and not again:
        return ending
    return Ending(what=ending.what, how="WRONG", words=f"done again: {', '.join([*lost, *again])}")


# -- damaged files ---------------------------------------------------------------------------------


def damaged(whole: Whole, state: Path, scratch: Path, only: str = "") -> Iterator[Ending]:
    """Damages each file of a job in turn, in each way, and starts the same command again.

    Args:
        whole: the job undisturbed.
        state: folder of the job as it was left, finished or not.
        scratch: folder to work in.
        only: part of the names of the files that are damaged; empty takes all.
    """
    files = [file for file in sorted((state / "run").rglob("*")) if file.is_file()]
    for file in files:
        name = str(file.relative_to(state / "run"))
        if file.name in _SCRATCH or only not in name:
            continue
        for damage in DAMAGES:
            if damage == "truncated" and file.stat().st_size < 2:
                continue
            folder = scratch / "damaged"
            whole.job.copy(state, folder)
            yield _after_damage(f"{name} {damage}", whole, folder, _damage(folder / "run", name, damage))


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A file that was damaged.

    Attributes:
        name: its path in the job's folder.
        left: what was left in it; None where it was deleted.
    """

    name: str
    left: bytes | None

    def stays(self, run: Path) -> bool:
        """Whether the file is as it was damaged; of what is handed over none may be."""
        if self.name.startswith("artifacts/"):
            return False
        file = run / self.name
        return (file.read_bytes() if file.exists() else None) == self.left


def _damage(run: Path, name: str, damage: str) -> Damaged:
    file = run / name
    if damage == "deleted":
        file.unlink()
        return Damaged(name=name, left=None)
    content = file.read_bytes()
    left = content[: len(content) // 2] if damage == "truncated" else b""
    file.write_bytes(left)
    return Damaged(name=name, left=left)


def _after_damage(what: str, whole: Whole, folder: Path, file: Damaged) -> Ending:
    said = quarry(whole.job.arguments, folder)
    ending = _ended(what, whole, folder / "run", said, but=file)
    if ending.how != "same":
        return ending
    for command in whole.job.after:
        said = quarry(command, folder)
        if said.code:
            told = _sentence(said)
            how = "WRONG" if told is None else "refused"
            words = told or said.error[-2000:]
            return Ending(what=what, how=how, words=f"by quarry {command[0]}: {words}")
    return ending


def half_finished(whole: Whole, folder: Path, happened: Callable[[Path], bool]) -> Path:
    """The job as a kill leaves it as soon as something has happened in its folder."""
    shutil.rmtree(folder, ignore_errors=True)
    whole.job.begin(folder)
    Command(whole.job.arguments, folder).start().kill_when(lambda: happened(folder / "run"))
    return folder


# -- other faults ----------------------------------------------------------------------------------


def disk_full(whole: Whole, scratch: Path) -> Iterator[Ending]:
    """Lets no file grow over some sizes: the command has to say so, and to go on when there is room."""
    sizes = sorted(file.stat().st_size for file in (whole.folder / "run").rglob("*") if file.is_file())
    for size_bytes in sorted({sizes[int(share * (len(sizes) - 1))] for share in (0.2, 0.5, 0.7, 0.85, 0.95)}):
        folder = scratch / "full"
        shutil.rmtree(folder, ignore_errors=True)
        whole.job.begin(folder)
        what = f"no room for files over {size_bytes / 1000:.3g} kB"
        said = quarry(whole.job.arguments, folder, before=files_at_most(size_bytes))
        told = _sentence(said)
        if told is None:
            yield Ending(what=what, how="WRONG", words=said.error[-2000:] or "it goes on as if nothing were")
            continue
        if parts := [str(file) for file in (folder / "run").rglob("*.part")]:
            yield Ending(what=what, how="WRONG", words=f"left behind: {', '.join(parts)}")
            continue
        yield _ended(f"{what}, then room", whole, folder / "run", quarry(whole.job.arguments, folder))


def two_processes(whole: Whole, scratch: Path) -> Iterator[Ending]:
    """Starts the same command beside one at work: the second is refused, the first is not disturbed."""
    folder, beside = scratch / "two", scratch / "two-beside"
    for place in (folder, beside):
        shutil.rmtree(place, ignore_errors=True)
        whole.job.begin(place)
    (beside / "run").symlink_to(folder / "run")
    first = Command(whole.job.arguments, folder).start()
    until = time.monotonic() + 60
    while not (folder / "run" / "recipe.json").exists() and time.monotonic() < until:
        time.sleep(0.02)
    told = _sentence(quarry(whole.job.arguments, beside))
    ending = _ended("two processes: the first", whole, folder / "run", first.end())
    how = "refused" if told else "WRONG"
    yield Ending(what="two processes: the second", how=how, words=told or "it goes on beside the first")
    yield ending


def clock_set_back(whole: Whole, scratch: Path) -> Iterator[Ending]:
    """Kills the job half-way, and goes on with a clock that is a day behind; then once more, a day ahead."""
    for days, words in ((-1, "behind"), (1, "ahead")):
        folder = scratch / "clock"
        shutil.rmtree(folder, ignore_errors=True)
        whole.job.begin(folder)
        Command(whole.job.arguments, folder).start().kill_after(whole.cpu_s / 2)
        said = quarry(whole.job.arguments, folder, before=partial(_shift_clock, days * _A_DAY_S))
        ending = _ended(f"killed half-way, then a clock a day {words}", whole, folder / "run", said)
        manifest = folder / "run" / "run.json"
        negative = manifest.exists() and re.search(r'seconds": -', manifest.read_text())
        yield (
            Ending(what=ending.what, how="WRONG", words="negative seconds in run.json")
            if negative
            else ending
        )


def _shift_clock(seconds: float) -> None:
    """Another time of day in this process, for Python's code."""
    import datetime as module

    plain = time.time
    time.time = lambda: plain() + seconds
    real = module.datetime

    class Shifted(real):  # type: ignore[valid-type, misc]
        @classmethod
        def now(cls, tz: module.tzinfo | None = None) -> Any:
            return real.now(tz) + module.timedelta(seconds=seconds)

    import sys

    for one in list(sys.modules.values()):
        if getattr(one, "datetime", None) is real and getattr(one, "__name__", "") != "datetime":
            one.datetime = Shifted  # type: ignore[attr-defined]


# -- how it ended ----------------------------------------------------------------------------------


def _ended(what: str, whole: Whole, run: Path, said: Said, but: Damaged | None = None) -> Ending:
    """How a command ended; ``but`` is a file that may have stayed as it was damaged."""
    if said.code:
        told = _sentence(said)
        return Ending(what=what, how="WRONG" if told is None else "refused", words=told or said.error[-2000:])
    if "Traceback" in said.error:
        return Ending(what=what, how="WRONG", words=said.error[-2000:])
    found = results_of(run)
    names = sorted(found.keys() | whole.results)
    wrong = [name for name in names if found.get(name) != whole.results.get(name)]
    if not wrong:
        return Ending(what=what, how="same")
    if but is not None and wrong == [but.name] and but.stays(run):
        return Ending(what=what, how="same", words=f"{but.name} stays as it is")
    return Ending(what=what, how="WRONG", words=f"other results: {', '.join(wrong)}")


def _sentence(said: Said) -> str | None:
    """The error that a command ended with, where it is one for people; None where it is not."""
    last = said.error.strip()
    if said.code <= 0 or "Traceback" in last or "looks like a bug" in last or "error: " not in last:
        return None
    return last[last.index("error: ") + len("error: ") :]
