"""The minutes that a run was given, and what is left of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

MEASURING = 0.12
"""Share of a run's time that measuring may take."""
RANKING = 0.25
"""Share of what is left after measuring for choosing among networks; the rest trains what was chosen."""
_END_SHARE, _END_S = 0.05, 25.0  # for compression, the test and the report: a share, and seconds at least
LEAST_MINUTES = 2.0
"""Minutes in which a run can be made at all: less leaves nothing for training beside measuring."""


def check_minutes(minutes: float | None) -> None:
    """Whether a run can be made in so many minutes.

    Raises:
        ValueError: it cannot.
    """
    if minutes is not None and minutes < LEAST_MINUTES:
        raise ValueError(
            f"minutes = {minutes:g} leave no time to train after measuring; give {LEAST_MINUTES:g} or more"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The time of a run.

    Attributes:
        total_s: seconds that the run may take.
        spent_s: seconds that finished stages took.
        began: start of the process's work, by ``time.monotonic``.
    """

    total_s: float
    spent_s: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, minutes: float | None, finished: Mapping[str, float]) -> Clock | None:
        """The clock of a run that was given minutes; None where it was not."""
        return None if minutes is None else cls(total_s=60 * minutes, spent_s=sum(finished.values()))

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
