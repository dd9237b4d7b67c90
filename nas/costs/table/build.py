"""Building a latency table: export, measure, write down, resume."""

from __future__ import annotations

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

Export = Callable[[nn.Module, tuple[int, ...]], bytes]
Progress = Callable[[int, int, float], None]
Group = Sequence[Probe]
GROUP = 12  # models measured side by side: few enough that a round sees one state of the machine
DISTURBED = 1.05  # a group in which the reference took this much longer than in the best is measured again
RETRIES = 2


class Reading(Protocol):
    """A measured latency, as devices return it."""

    @property
    def median_ms(self) -> float: ...
    @property
    def low_ms(self) -> float: ...
    @property
    def high_ms(self) -> float: ...
    @property
    def repeats(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...


class Measure(Protocol):
    """Times exported models side by side: one reading each."""

    def __call__(self, models: Sequence[bytes], *, budget_s: float) -> Sequence[Reading]: ...


def build_table(
    probes: Iterable[Probe],
    header: TableHeader,
    *,
    export: Export,
    measurers: Sequence[Measure],
    path: Path,
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
        export: a module and its input shape to the deployment format; ValueError makes it ``unsupported``.
        measurers: one per device of the kind; groups are spread over them.
        path: of the table, ``.parquet``.
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
    reference = _reference(todo, export)
    pending: list[Group] = list(groups)
    best_ms = float("inf")
    for _attempt in range(1 + RETRIES):
        slowness: list[tuple[float, Group]] = []
        for rows, reference_ms, group in _measured(
            pending, export, measurers, seconds_each, reference, clock
        ):
            for row in rows:
                append_line(journal, row)
                known[(row["kind"], row["key"], row["occasion"])] = row
            best_ms = min(best_ms, reference_ms)
            slowness.append((reference_ms, group))
        pending = [group for reference_ms, group in slowness if reference_ms > DISTURBED * best_ms]
    table = LatencyTable(header=header, rows=_frame(known))
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


def _reference(probes: Sequence[Probe], export: Export) -> bytes | None:
    """A model from the middle of the list, as good as any to see whether the machine is disturbed."""
    for probe in probes[len(probes) // 2 :]:
        try:
            return export(probe.make(), probe.input_shape)
        except ValueError:
            continue
    return None


def _measured(
    groups: Sequence[Group],
    export: Export,
    measurers: Sequence[Measure],
    seconds_each: float,
    reference: bytes | None,
    clock: _Clock,
) -> Iterator[tuple[list[dict[str, Any]], float, Group]]:
    """The rows of each group as it is done, with the latency of the reference beside it."""
    free = list(measurers)

    def work(group: Group) -> tuple[list[dict[str, Any]], float, Group]:
        measure = free.pop()
        try:
            return *_measure_group(group, export, measure, seconds_each, reference), group
        finally:
            free.append(measure)

    with ThreadPoolExecutor(max_workers=max(1, len(free))) as pool:
        futures = [pool.submit(work, group) for group in groups]
        try:
            for future in as_completed(futures):
                result = future.result()
                clock.finished(len(result[2]))
                yield result
        finally:
            for future in futures:
                future.cancel()


Known = dict[tuple[str, str, int], dict[str, Any]]


def _known(header: TableHeader, path: Path, journal: Path) -> tuple[TableHeader, Known]:
    """What the table and its journal hold already, under the header they were begun with."""
    known: Known = {}
    if path.exists():
        table = load_table(path)
        header = _same(header, table.header, path)
        for row in table.rows.to_dict("records"):
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


def _measure_group(
    group: Group, export: Export, measure: Measure, seconds_each: float, reference: bytes | None
) -> tuple[list[dict[str, Any]], float]:
    models: list[bytes] = []
    refused: dict[int, str] = {}
    for index, probe in enumerate(group):
        try:
            models.append(export(probe.make(), probe.input_shape))
        except ValueError as error:
            refused[index] = str(error)
    if reference is not None:
        models.append(reference)
    readings = list(measure(models, budget_s=seconds_each * len(models))) if models else []
    reference_ms = readings.pop().median_ms if reference is not None else float("nan")
    remaining = iter(readings)
    rows = [
        _row(probe, None if index in refused else next(remaining), refused.get(index, ""))
        for index, probe in enumerate(group)
    ]
    return rows, reference_ms


def _row(probe: Probe, reading: Reading | None, refusal: str) -> dict[str, Any]:
    row: dict[str, Any] = {
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
    if reading is not None:
        row |= {"repeats": reading.repeats, "status": reading.status, "reason": reading.reason}
        if reading.status == "measured":
            row |= {
                "median_ms": reading.median_ms,
                "low_ms": reading.low_ms,
                "high_ms": reading.high_ms,
            }
    return row
