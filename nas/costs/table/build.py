"""Building a latency table: export, measure, write down, resume."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from torch import nn

from nas.costs.layers.probes import Probe
from nas.costs.table.table import COLUMNS, LatencyTable, TableHeader, load_table, read_header
from results.files import append_line, read_lines
from results.timing import Timing

Progress = Callable[[int, int, float], None]
Group = Sequence[Probe]
Line = dict[str, Any]
GROUP = 12  # models measured side by side: few enough that a round sees one state of the machine
DISTURBED = 1.05  # a group in which the reference took this much longer than in the best is measured again
RETRIES = 2


class Export(Protocol):
    """Writes a module as a file that a device measures; what it raises makes it ``unsupported``."""

    def __call__(self, module: nn.Module, input_shape: tuple[int, ...], path: Path, /) -> None: ...


class TimeFiles(Protocol):
    """Times exported files side by side: one timing each."""

    def __call__(self, files: Sequence[Path], /, *, budget_s: float) -> Sequence[Timing]: ...


def build_table(
    probes: Iterable[Probe],
    header: TableHeader,
    *,
    export: Export,
    measure: TimeFiles,
    path: Path,
    at_once: int = 1,
    seconds_each: float = 0.4,
    progress: Progress = lambda _done, _total, _seconds_left: None,
) -> LatencyTable:
    """Measures what the table at ``path`` does not hold yet, and adds it.

    Every group of models is on the disk before the next is begun (in a journal beside the table), so a
    kill loses one group. The journal goes into the table at the end. One model is measured along with every
    group; a group in which it was slower than in the best one was disturbed, and is measured again.

    Args:
        probes: what to measure.
        header: what the figures will hold for; an existing table has to agree with it, but for the date.
        export: writes a module as a file in the deployment format.
        measure: times the files of a group.
        path: file of the table, ``.parquet``.
        at_once: groups measured at the same time, one for each device of the kind.
        seconds_each: time budget of a model.
        progress: told models done, models in all, seconds left.

    Raises:
        ValueError: the table at ``path`` holds for something else; the message says in what.
        OSError: a device went away; what was measured is kept, and the same call resumes.
    """
    journal = path.with_suffix(".journal.jsonl")
    header, known = _known(header, path, journal)
    probes = list(probes)
    todo = [probe for probe in probes if probe.identity not in known]
    groups = [todo[start : start + GROUP] for start in range(0, len(todo), GROUP)]
    clock = _Clock(len(probes), len(probes) - len(todo), seconds_each, progress)
    pending: list[Group] = list(groups)
    best_ms = float("inf")
    with tempfile.TemporaryDirectory(prefix="quarry-") as scratch:
        bench = _Bench(export, measure, seconds_each, Path(scratch), todo)
        for _attempt in range(1 + RETRIES):
            slowness: list[tuple[float, Group]] = []
            for lines, reference_ms, group in _measured(pending, bench, at_once, clock):
                for line in lines:
                    append_line(journal, line)
                    known[(line["kind"], line["key"], line["occasion"])] = line
                best_ms = min(best_ms, reference_ms)
                slowness.append((reference_ms, group))
            pending = [group for reference_ms, group in slowness if reference_ms > DISTURBED * best_ms]
    table = LatencyTable(header=header, lines=_frame(known))
    table.save(path)
    journal.unlink(missing_ok=True)
    return table


class _Clock:
    """Counts models and estimates the time left from the groups so far."""

    def __init__(self, total: int, known: int, seconds_each: float, progress: Progress) -> None:
        self._total, self._done, self._progress = total, known, progress
        self._start, self._each = time.monotonic(), seconds_each
        self._counted = 0
        progress(known, total, seconds_each * (total - known))

    def finished(self, models: int) -> None:
        self._done = min(self._total, self._done + models)
        self._counted += models
        each = (time.monotonic() - self._start) / self._counted
        self._progress(self._done, self._total, each * (self._total - self._done))


class _Bench:
    """Exports and measures one group after another, a reference beside each.

    Args:
        export: writes files.
        measure: times them.
        seconds_each: time budget of a file.
        scratch: folder for them, empty.
        probes: all of them; the reference is one from the middle, as good as any to see whether the machine
            is disturbed.
    """

    def __init__(
        self,
        export: Export,
        measure: TimeFiles,
        seconds_each: float,
        scratch: Path,
        probes: Sequence[Probe],
    ) -> None:
        self._export, self._measure = export, measure
        self._seconds_each, self._scratch = seconds_each, scratch
        self._reference: Path | None = None
        for probe in probes[len(probes) // 2 :]:
            path = scratch / "reference.model"
            try:
                export(probe.make(), probe.input_shape, path)
            except (OSError, MemoryError):
                raise
            except Exception:  # whatever a user's module raises: its own line will say so
                continue
            self._reference = path
            break

    def measured(self, group: Group) -> tuple[list[Line], float]:
        """The lines of a group, and the latency of the reference beside it."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            files: list[Path] = []
            refused: dict[int, str] = {}
            for index, probe in enumerate(group):
                path = Path(folder) / f"{index}.model"
                try:
                    self._export(probe.make(), probe.input_shape, path)
                    files.append(path)
                except (OSError, MemoryError):
                    raise
                except Exception as error:  # whatever a user's module raises: it costs this line
                    refused[index] = _why(error)
            if self._reference is not None:
                files.append(self._reference)
            timings = list(self._measure(files, budget_s=self._seconds_each * len(files))) if files else []
        reference_ms = timings.pop().median_ms if self._reference is not None else float("nan")
        remaining = iter(timings)
        lines = [
            _line(probe, None if index in refused else next(remaining), refused.get(index, ""))
            for index, probe in enumerate(group)
        ]
        return lines, reference_ms


def _measured(
    groups: Sequence[Group], bench: _Bench, at_once: int, clock: _Clock
) -> Iterator[tuple[list[Line], float, Group]]:
    """The lines of each group as it is done, with the latency of the reference beside it."""

    def work(group: Group) -> tuple[list[Line], float, Group]:
        return *bench.measured(group), group

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        futures = [pool.submit(work, group) for group in groups]
        try:
            for future in as_completed(futures):
                result = future.result()
                clock.finished(len(result[2]))
                yield result
        finally:
            for future in futures:
                future.cancel()


Known = dict[tuple[str, str, int], Line]


def _known(header: TableHeader, path: Path, journal: Path) -> tuple[TableHeader, Known]:
    """What the table and its journal hold already, under the header they were begun with."""
    known: Known = {}
    if path.exists():
        table = load_table(path)
        header = _same(header, table.header, path)
        for row in table.lines.to_dict("records"):
            known[(str(row["kind"]), str(row["key"]), int(row["occasion"]))] = {
                str(k): v for k, v in row.items()
            }
    lines = list(read_lines(journal))
    if lines and "profile" in lines[0]:
        header = _same(header, read_header(lines[0]), journal)
        for line in lines[1:]:
            known[(line["kind"], line["key"], line["occasion"])] = line
    else:
        journal.unlink(missing_ok=True)  # a kill cut even its header short
        append_line(journal, asdict(header))
    return header, known


def _frame(known: Known) -> pd.DataFrame:
    rows = pd.DataFrame(list(known.values()), columns=list(COLUMNS))
    times = ["median_ms", "low_ms", "high_ms"]
    return rows.assign(**{name: rows[name].astype(float) for name in times})


def _same(wanted: TableHeader, found: TableHeader, path: Path) -> TableHeader:
    differences = wanted.differences(found)
    if differences:
        raise ValueError(
            f"{path} holds for something else than is to be measured now: {'; '.join(differences)}. "
            "Give another place, or delete it to measure anew"
        )
    return found


def _why(error: Exception) -> str:
    said = str(error).strip() or "no message"
    return said if isinstance(error, ValueError) else f"{type(error).__name__}: {said}"


def _line(probe: Probe, timing: Timing | None, refusal: str) -> Line:
    line: Line = {
        "kind": probe.kind,
        "key": probe.key,
        "input": "x".join(map(str, probe.input_shape)),
        "occasion": probe.occasion,
        "median_ms": None,
        "low_ms": None,
        "high_ms": None,
        "repeats": 0,
        "status": "unsupported",
        "reason": refusal,
    }
    if timing is not None:
        line |= {"repeats": timing.repeats, "status": timing.status, "reason": timing.reason}
        if timing.status == "measured":
            line |= {"median_ms": timing.median_ms, "low_ms": timing.low_ms, "high_ms": timing.high_ms}
    return line
