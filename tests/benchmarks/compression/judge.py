"""All files of a network side by side: accuracy on the test images, latency in turns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.costs.counts.analytic import count
from results.files import append_line, read_lines, write_json
from tests.benchmarks.compression import plain, quarry
from tests.benchmarks.compression.results import GIVEN, PLAIN, QUARRY, Answer, Judged
from tests.benchmarks.compression.setting import SHAPE, Bench

_SECONDS_EACH = 2.0
FILE = "judged.json"


class Clock:
    """Processor seconds of this process and its children, with those of runs before that were stopped.

    A run that was killed leaves no line: what it spent is not counted, so begin such a network again.

    Args:
        file: file of seconds, a line for each attempt.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextmanager
    def counted(self, what: str) -> Iterator[Callable[[], float]]:
        """A function that gives the seconds spent on something so far, over all attempts at it."""
        before = sum(line["seconds"] for line in read_lines(self._file) if line["what"] == what)
        began = _used_s()
        try:
            yield lambda: before + _used_s() - began
        except BaseException:  # stopped: what was spent counts all the same
            append_line(self._file, {"what": what, "seconds": _used_s() - began})
            raise


def _used_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def worked(bench: Bench) -> list[Answer]:
    """The answers of both sides for every goal; what is there is read."""
    lines = bench.folder / "answers.jsonl"
    network = bench.base()
    bench.exported()
    done = {(one.side, one.factor): one for one in map(Answer.from_json, read_lines(lines))}
    clock = Clock(bench.folder / "seconds.jsonl")
    factors = bench.setting.factors
    for factor in factors:
        if (QUARRY, factor) not in done:
            with clock.counted(f"{QUARRY} {factor:g}") as spent_s:
                found = quarry.answer(bench, network, factor, spent_s)
            append_line(lines, found.to_json())
            done[QUARRY, factor] = found
    budget_s = sum(done[QUARRY, factor].cpu_s for factor in factors) / len(factors)
    for factor in factors:
        if (PLAIN, factor) not in done:
            found = plain.answer(bench, network, factor, budget_s)
            append_line(lines, found.to_json())
            done[PLAIN, factor] = found
    return list(done.values())


def judged(bench: Bench, answers: list[Answer]) -> list[Judged]:
    """The network as it is and all answers, run on the test images and measured in turns."""
    files = [bench.exported(), *(Path(one.file) for one in answers)]
    timings = bench.target.measure(files, budget_s=_SECONDS_EACH * len(files))
    given = Answer(
        side=GIVEN,
        factor=1.0,
        file=str(files[0]),
        precision="fp32",
        share=1.0,
        macs=count(bench.base(), SHAPE).macs,
        validation=0.0,
        within=True,
        cpu_s=0.0,
    )
    found = [
        Judged(
            network=bench.name,
            side=one.side,
            factor=one.factor,
            precision=one.precision,
            share=one.share,
            macs=one.macs,
            test=bench.accuracy(file, bench.data.splits.test),
            latency_ms=timing.median_ms,
            low_ms=timing.low_ms,
            high_ms=timing.high_ms,
            within=one.within,
            cpu_s=one.cpu_s,
        )
        for one, file, timing in zip([given, *answers], files, timings, strict=True)
    ]
    write_json(bench.folder / FILE, [one.to_json() for one in found])
    return found
