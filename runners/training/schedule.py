"""Learning rates over the steps of a training."""

from __future__ import annotations

import math


def warmup_cosine(step: int, *, total: int, warmup: int) -> float:
    """The factor on the peak learning rate at a step: a linear rise, then half a cosine down to zero.

    Args:
        step: counted from 0.
        total: steps of the whole training.
        warmup: steps of the rise.
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
