"""What came of a network: lines of work that was done, and in the end of files that were judged."""

from __future__ import annotations

from dataclasses import dataclass

from results.records import Record

GIVEN, QUARRY, PLAIN = "as it is", "Quarry", "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Record):
    """The file that a side hands over for a goal.

    Attributes:
        side: ``Quarry`` or ``plain``.
        factor: times as fast as the network as it is that the file is to be.
        file: path of the file.
        precision: its number format.
        share: share of the channels that was kept.
        macs: multiply-accumulates of its network.
        validation: accuracy on the validation images, in [0, 1].
        within: whether the side measured it within the goal.
        cpu_s: processor seconds that were spent on it: of Quarry for everything, over all attempts, of the
            plain way for fine-tuning, since it was last begun.
    """

    side: str
    factor: float
    file: str
    precision: str
    share: float
    macs: int
    validation: float
    within: bool
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged(Record):
    """A file, judged beside all others of its network by the same code.

    Attributes:
        network: name of the network.
        side: ``as it is``, ``Quarry`` or ``plain``.
        factor: times as fast that it was to be; 1 for the network as it is.
        precision: its number format.
        share: share of the channels that was kept.
        macs: multiply-accumulates of its network.
        test: accuracy on the test images, in [0, 1].
        latency_ms: median latency, all files of the network in turns.
        low_ms: lower end of the median's interval.
        high_ms: upper end of it.
        within: whether the side measured it within the goal.
        cpu_s: processor seconds that were spent on it.
    """

    network: str
    side: str
    factor: float
    precision: str
    share: float
    macs: int
    test: float
    latency_ms: float
    low_ms: float
    high_ms: float
    within: bool
    cpu_s: float
