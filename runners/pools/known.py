"""A pool that evaluates nothing twice: scores are kept on the disk, and a known arch is answered at once."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from nas.search.pool import Outcome, Pool
from results.files import append_line, read_lines
from results.records import ScoreRecord
from search_spaces.space import Arch


@dataclass(slots=True, kw_only=True)
class _Asked:
    """An arch under way, and the ticket that waits for it: none once its search has ended."""

    arch: Arch
    ticket: int | None


class KnownScores:
    """A pool before another pool, which answers what is known.

    Several searches may use it in turn. ``close`` forgets what one of them left under way, so that its
    outcomes do not reach the next; the pool behind is closed by whoever opened it.

    Args:
        pool: pool behind it, which evaluates what is not known.
        file: file of the scores, a line for each arch; scores of other evaluators may be in it too.
        evaluator: description that tells the scores of one evaluator from those of another.

    Attributes:
        scores: scores of all known archs, by ``key_of``.
        new: number of archs that the pool behind evaluated.

    Raises:
        ValueError: the file holds lines that are no scores.
    """

    def __init__(self, pool: Pool, file: Path, evaluator: str) -> None:
        self._pool, self._file, self._evaluator = pool, file, evaluator
        self.capacity = pool.capacity
        self.scores = _read(file, evaluator)
        self.new = 0
        self._answers: deque[Outcome] = deque()
        self._asked: dict[int, _Asked] = {}
        self._number = 0

    def submit(self, ticket: int, arch: Arch) -> None:
        """Takes an arch; the pool behind is not asked where its scores are known."""
        known = self.scores.get(key_of(arch))
        if known is not None:
            self._answers.append(Outcome(ticket=ticket, scores=dict(known), worker="known"))
            return
        self._number += 1  # a number of our own: tickets of two searches are alike
        self._asked[self._number] = _Asked(arch=dict(arch), ticket=ticket)
        self._pool.submit(self._number, arch)

    def next(self) -> Outcome:
        """The next outcome: what is known first."""
        while not self._answers:
            self._take(self._pool.next())
        return self._answers.popleft()

    def close(self) -> None:
        """Forgets what is under way; the pool behind stays open."""
        self._answers.clear()
        for asked in self._asked.values():
            asked.ticket = None

    def _take(self, outcome: Outcome) -> None:
        asked = self._asked.pop(outcome.ticket)
        if outcome.scores is not None and all(map(isfinite, outcome.scores.values())):
            self.new += 1
            self.scores[key_of(asked.arch)] = outcome.scores
            known = ScoreRecord(evaluator=self._evaluator, arch=dict(asked.arch), scores=dict(outcome.scores))
            append_line(self._file, known.to_json())
        if asked.ticket is not None:
            self._answers.append(replace(outcome, ticket=asked.ticket))


def _read(file: Path, evaluator: str) -> dict[str, dict[str, float]]:
    try:
        found = [ScoreRecord.from_json(line) for line in read_lines(file)]
    except ValueError as error:
        raise ValueError(
            f"{file} holds a line that is no score ({error}); delete it to score again"
        ) from error
    return {key_of(known.arch): known.scores for known in found if known.evaluator == evaluator}


def key_of(arch: Mapping[str, object]) -> str:
    """An arch as text, the same for equal ones."""
    return json.dumps(dict(arch), sort_keys=True)
