"""The results: one line for each network that a side handed over, in ``lines.jsonl``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from results.files import append_line, read_lines
from results.records import Record

HAND = {"fp32": "by hand", "int8": "by hand, int8"}
"""Names of by hand's columns by the number format of its files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Record):
    """A network that a side handed over, judged: the same code runs and times the files of all sides.

    Attributes:
        side: ``by hand``, ``by hand, int8``, or Quarry under the label of its settings.
        limit_ms: latency limit.
        seed: seed of the side's work.
        network: what it is, in words.
        accuracy: accuracy of the file on the test images, in [0, 1].
        test_images: number of those.
        latency_ms: median latency of the file.
        low_ms: lower end of the median's interval.
        high_ms: upper end of it.
        cpu_s: processor seconds that the side spent on it.
        wall_s: seconds that this took.
        budget_s: processor seconds that it was given.
        training_macs: multiply-accumulates of its training; None where the side does not tell.
        epochs: epochs of the final training; None where the side does not tell.
        file: the judged file.
    """

    side: str
    limit_ms: float
    seed: int
    network: str
    accuracy: float
    test_images: int
    latency_ms: float
    low_ms: float
    high_ms: float
    cpu_s: float
    wall_s: float
    budget_s: float
    training_macs: float | None
    epochs: int | None
    file: str


class Lines:
    """The lines of a folder. Two processes may add to them at the same time.

    Args:
        folder: folder of the results.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "lines.jsonl"

    def all(self) -> list[Line]:
        """Every line, in the order in which they were added."""
        return [Line.from_json(value) for value in read_lines(self._file)]

    def latest(self) -> list[Line]:
        """One line for each side, limit and seed: the last that was added."""
        return list({(one.side, one.limit_ms, one.seed): one for one in self.all()}.values())

    def done(self, side: str, limits_ms: Sequence[float], seed: int) -> bool:
        """Whether a side has answered all of these limits with that seed."""
        there = {one.limit_ms for one in self.all() if (one.side, one.seed) == (side, seed)}
        return set(limits_ms) <= there

    def add(self, line: Line) -> None:
        """Adds a line; it is on the disk when this returns."""
        append_line(self._file, line.to_json())
