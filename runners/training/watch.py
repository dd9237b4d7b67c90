"""Following a training: what it tells after each step and each epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSummary:
    """What one epoch did.

    Attributes:
        epoch: Number of the epoch, counted from 0.
        step: Steps done since the training began.
        loss: Mean loss on labels.
        learning_rate: Learning rate of the last step.
        seconds: Time of the steps, data included.
        images_per_second: Images of all steps over that time.
    """

    epoch: int
    step: int
    loss: float
    learning_rate: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who follows a training.

    Attributes:
        step: Called after each step with (steps done, steps in all).
        epoch: Called after each epoch with its summary and what is to be judged (a supernet, or a network:
            the average, where one is kept), before the checkpoint that counts the epoch as done.
    """

    step: Callable[[int, int], None] | None = None
    epoch: Callable[[EpochSummary, Any], None] | None = None


SILENT = Watch()
