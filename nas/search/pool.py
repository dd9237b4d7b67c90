"""Where archs are scored: the pool a search hands them to, and the one that scores them right here."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from search_spaces.space import Arch

Evaluate = Callable[[Arch], Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one evaluation.

    Attributes:
        ticket: the number it was submitted under.
        scores: one number per measured objective; None where it failed.
        error: why it failed, in one line; empty where it did not.
        seconds: what the evaluation itself took.
        worker: who did it.
    """

    ticket: int
    scores: dict[str, float] | None
    error: str = ""
    seconds: float = 0.0
    worker: str = ""


@runtime_checkable
class Pool(Protocol):
    """Scores archs, some at a time, and hands outcomes back as they come."""

    capacity: int
    """Evaluations worth having under way at once."""

    def submit(self, ticket: int, arch: Arch) -> None:
        """Takes an arch; its outcome will carry the ticket."""

    def next(self) -> Outcome:
        """The next finished evaluation; waits for it."""

    def close(self) -> None:
        """Stops what is under way."""


class SerialPool:
    """Scores one arch at a time, in this process, when its outcome is asked for.

    Args:
        evaluate: arch to scores. What it raises becomes a failed outcome.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self.capacity = 1
        self._evaluate = evaluate
        self._queue: deque[tuple[int, Arch]] = deque()

    def submit(self, ticket: int, arch: Arch) -> None:
        self._queue.append((ticket, arch))

    def next(self) -> Outcome:
        ticket, arch = self._queue.popleft()
        start = time.perf_counter()
        try:
            scores = {name: float(value) for name, value in self._evaluate(arch).items()}
        except Exception as error:  # whatever a user's function raises costs one trial, not the search
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            return Outcome(
                ticket=ticket, scores=None, error=reason, seconds=time.perf_counter() - start, worker="here"
            )
        return Outcome(ticket=ticket, scores=scores, seconds=time.perf_counter() - start, worker="here")

    def close(self) -> None:
        self._queue.clear()
