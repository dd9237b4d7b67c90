"""The records of ranking networks without shared weights: what was measured, and every training."""

from __future__ import annotations

from dataclasses import dataclass

from results.records.codec import Record, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Scouted(Record):
    """A network measured on the target before any is trained; a line of measure/scouted.jsonl.

    Attributes:
        arch: choice names to values.
        precision: number format of the file that was measured.
        latency_ms: median latency of the file; None where it does not run there.
        low_ms: lower end of the interval of that median.
        high_ms: upper end of the interval of that median.
        macs: multiply-accumulates for one input.
        params: parameters.
        reason: why it does not run; empty where it does.
    """

    arch: dict[str, Value]
    precision: str
    latency_ms: float | None
    low_ms: float | None
    high_ms: float | None
    macs: int
    params: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RungRecord(Record):
    """One round of the halving: so many networks, each trained for so many epochs.

    Attributes:
        networks: networks that are trained.
        epochs: passes over the training images that each gets.
    """

    networks: int
    epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RacePlan(Record):
    """What a race was planned to do; search/plan.json.

    Attributes:
        rungs: rounds in order; the last is the final training.
        seconds_per_epoch: time of an epoch of the networks that it was planned with, in a worker.
        workers: networks trained at once.
        threads: threads of each of them, by rung.
    """

    rungs: tuple[RungRecord, ...]
    seconds_per_epoch: float
    workers: int
    threads: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raced(Record):
    """One training of one network; a line of search/race.jsonl.

    Attributes:
        rung: number of the round, from 0.
        epochs: passes over the training images.
        arch: choice names to values.
        precision: number format that it meets the limit in.
        latency_ms: measured latency in that format, before the training.
        macs: multiply-accumulates for one input.
        accuracy: score on the validation images in [0, 1]; None where the training failed.
        train_loss: mean loss on labels in the last epoch, None where the training failed.
        seconds: time of the training.
        error: reason of a failure; empty where there was none.
        training_macs: multiply-accumulates of the whole training, forward and backward; 0 where it failed.
    """

    rung: int
    epochs: int
    arch: dict[str, Value]
    precision: str
    latency_ms: float
    macs: int
    accuracy: float | None
    train_loss: float | None
    seconds: float
    error: str = ""
    training_macs: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlocksPlan(Record):
    """The plan of learning block by block; search/blocks.json.

    Attributes:
        teacher: arch of the network whose blocks are learned from.
        epochs: passes over the training images that it is trained for.
        steps: optimizer steps in which alternatives learn.
    """

    teacher: dict[str, Value]
    epochs: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockErrors(Record):
    """The errors of all that can stand in one place of a network; a line of search/blocks.jsonl.

    Attributes:
        place: name of the place, that of its first slot.
        errors: squared error of each alternative on validation images over the variance of the teacher's
            output; None where it does not fit the teacher's shapes.
        seconds: time of the learning.
    """

    place: str
    errors: tuple[float | None, ...]
    seconds: float
