"""The records of training: the space that is trained, one for each epoch, and one for each later training."""

from __future__ import annotations

from dataclasses import dataclass, field

from results.records.codec import Record, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceRecord(Record):
    """What the trained space does without, and why; train/space.json.

    Attributes:
        profile: name of the hardware profile that it was decided for.
        limit_ms: latency limit that it was decided for; None where the space only builds and is left whole.
        left_out: mixers that the profile cannot run.
        kept: values that choices keep, of those that lose some.
        reference: arch that stands for the largest, where that is many times over the limit; None where the
            space's own does.
        networks: number of networks before anything was left out for the limit.
        networks_left: number of networks that are left.
    """

    profile: str
    limit_ms: float | None
    left_out: tuple[str, ...] = ()
    kept: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    reference: dict[str, Value] | None = None
    networks: float
    networks_left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord(Record):
    """One epoch of the supernet's training; a line of train/history.jsonl.

    Attributes:
        epoch: number of the epoch, from 0.
        step: optimizer steps taken so far.
        loss: mean loss over the epoch.
        learning_rate: learning rate at the epoch's end.
        seconds: time the epoch's steps took, without the scoring of the watched subnets.
        images_per_second: speed of these steps, reading and augmenting included.
        watched: validation accuracy of the watched subnets by name: "largest", "smallest", "random subnet
            of 1.23 M MACs", ...
        alarms: warnings in words, such as a bigger subnet doing clearly worse than a smaller one.
        macs: multiply-accumulates of the epoch, forward and backward, and of scoring the watched subnets.
    """

    epoch: int
    step: int
    loss: float
    learning_rate: float
    seconds: float
    images_per_second: float
    watched: dict[str, float] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
    macs: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord(Record):
    """One training of one network in compression that came to its end; a line of compress/trainings.jsonl.

    Attributes:
        network: name of the network.
        step: name of the compression step that trained it.
        way: how it was trained: ``further`` or ``from scratch``.
        epochs: passes over the training images.
        macs: multiply-accumulates of the whole training, forward and backward, and of its teachers; of
            teachers that are files nothing is known.
        seconds: time it took in the process that ended it.
    """

    network: str
    step: str
    way: str
    epochs: int
    macs: float
    seconds: float
