"""The record of training: one for each epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

from results.records.codec import Record


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
    """

    epoch: int
    step: int
    loss: float
    learning_rate: float
    seconds: float
    images_per_second: float
    watched: dict[str, float] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
