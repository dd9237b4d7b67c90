"""Pools, which score archs for a search, and the one that scores them in this process."""

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
    """The result of one evaluation.

    Attributes:
        ticket: number it was submitted under.
        scores: one number for each measured objective; None where it failed.
        error: reason of a failure, in one line; empty where there was none.
        seconds: duration of the evaluation itself.
        worker: name of the worker that evaluated it.
        processor_seconds: processor time of the worker's process so far; 0 where that is this one.
    """

    ticket: int
    scores: dict[str, float] | None
    error: str = ""
    seconds: float = 0.0
    worker: str = ""
    processor_seconds: float = 0.0


@runtime_checkable
class Pool(Protocol):
    """Scores archs, several at a time, and returns outcomes in the order in which they finish."""

    capacity: int
    """Evaluations that it can have under way at once."""

    def submit(self, ticket: int, arch: Arch) -> None:
        """Takes an arch; its outcome will carry the ticket."""

    def next(self) -> Outcome:
        """The next finished evaluation; waits for it."""

    def close(self) -> None:
        """Stops what is under way."""


class SerialPool:
    """Scores one arch at a time, in this process, when its outcome is asked for.

    Args:
        evaluate: function from an arch to its scores. What it raises becomes a failed outcome.
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
