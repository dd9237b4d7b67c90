"""The minutes that a run was given, and what is left of them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

MEASURING = 0.12
"""Share of a run's time that measuring may take."""
RANKING = 0.25
"""Share of what is left after measuring for choosing among networks; the rest trains what was chosen."""
TEACHER, BLOCKS = 0.2, 0.1
"""Shares of what is left after measuring for the teacher of blocks, and for what learns from it."""
_END_SHARE, _END_S = 0.03, 25.0  # for compression, the test and the report: a share, and seconds at least
_EPOCHS = 3  # of the smallest network: with fewer there is nothing to choose by
_MEASURING_S = 30.0  # for the first networks, whatever the share


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The time of a run.

    Attributes:
        total_s: seconds that the run may take.
        spent_s: seconds that finished stages took.
        began: start of the process's work, by ``time.monotonic``.
    """

    total_s: float
    spent_s: float
    began: float

    @classmethod
    def of(cls, minutes: float | None, finished: Mapping[str, float], *, began: float) -> Clock | None:
        """The clock of a run that was given minutes; None where it was not.

        Args:
            minutes: what it was given.
            finished: seconds of the stages that are finished, by name.
            began: start of this process's work.
        """
        if minutes is None:
            return None
        return cls(total_s=60 * minutes, spent_s=sum(finished.values()), began=began)

    @property
    def left_s(self) -> float:
        """Seconds left in all."""
        return self.total_s - self.spent_s - (time.monotonic() - self.began)

    @property
    def end_s(self) -> float:
        """Seconds to keep for what comes after training."""
        return max(_END_S, _END_SHARE * self.total_s)

    @property
    def training_s(self) -> float:
        """Seconds left for training."""
        return self.left_s - self.end_s

    @property
    def measuring_s(self) -> float:
        """Seconds that measuring may take."""
        return MEASURING * self.total_s


def check_minutes(minutes: float, epoch_s: float) -> None:
    """Whether a run can be made in so many minutes.

    Args:
        minutes: what it is given.
        epoch_s: seconds of an epoch of the smallest network.

    Raises:
        ValueError: it cannot; says what would do.
    """
    least_s = (_EPOCHS * epoch_s + _END_S + _MEASURING_S) / (1 - MEASURING)
    least = math.ceil(least_s / 6) / 10
    if minutes < least:
        raise ValueError(
            f"minutes = {minutes:g} are too few: an epoch of the smallest network takes {epoch_s:.1f} s, and "
            f"measuring, choosing and the test come to it; {least:g} minutes would do"
        )
