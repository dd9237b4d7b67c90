"""Archs that meet the limits: sampling them, repairing others, and remembering which were proposed.

Every random loop is bounded; what sampling does not find is reached by walking from archs that meet the
limits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.search.diagnosis import closest, diagnose
from nas.search.problem import Problem
from search_spaces.space import Rows

PROBES = 2000
ANCHORS = 256
TRIES = 20


class Feasible:
    """Draws archs under the limits of a problem.

    Args:
        problem: problem with its cheap limits.
        seed: seed of the archs that are looked at first.

    Raises:
        ValueError: nothing meets the limits; the message is the diagnosis.
    """

    def __init__(self, problem: Problem, *, seed: int = 0) -> None:
        self.problem = problem
        rng = np.random.default_rng([seed, 11])
        if problem.listed is not None:
            self.share = len(problem.listed) / max(problem.space.size, 1)
            found = problem.listed
        else:
            probes = problem.space.sample(PROBES, rng)
            good = problem.admits(probes)
            self.share = float(good.mean())
            found = probes[good]
        if not len(found):
            nearest = closest(problem, rng)
            if not problem.admits(nearest[None])[0]:
                raise ValueError(diagnose(problem, nearest))
            found = nearest[None]
        self._anchors = found[:ANCHORS] if problem.listed is None else found
        if problem.listed is None and self.share < 0.02:
            self._anchors = self._spread(self._anchors, rng)

    def _spread(self, anchors: Rows, rng: np.random.Generator) -> Rows:
        """More anchors, by walks that never leave the limits, since sampling alone finds too few."""
        walkers = anchors[rng.integers(len(anchors), size=ANCHORS)]
        for _ in range(60):
            steps = self.problem.space.mutate(walkers, rng, rate=0.0)  # one choice each
            good = self.problem.admits(steps)
            walkers = np.where(good[:, None], steps, walkers)
        return np.unique(np.vstack([anchors, walkers]), axis=0)

    def sample(self, n: int, rng: np.random.Generator) -> Rows:
        """n archs that meet the limits, repeats possible, (n, n choices).

        Uniform over the archs where the space can be listed; over the choices where at least a fiftieth
        of the samples meet the limits; walked to from known good archs where fewer do.
        """
        space = self.problem.space
        if self.problem.listed is not None:
            return self.problem.listed[rng.integers(len(self.problem.listed), size=n)]
        found = np.empty((0, len(space.choices)), dtype=np.int64)
        if self.share >= 0.02:
            for _ in range(TRIES):
                rows = space.sample(int((n - len(found)) / self.share * 1.2) + 8, rng)
                found = np.vstack([found, rows[self.problem.admits(rows)]])
                if len(found) >= n:
                    return found[:n]
        walkers = self._anchors[rng.integers(len(self._anchors), size=n - len(found))]
        for _ in range(10):
            steps = space.mutate(walkers, rng, rate=0.0)
            walkers = np.where(self.problem.admits(steps)[:, None], steps, walkers)
        return np.vstack([found, walkers])

    def repair(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """The same rows where they meet the limits; else with some choices taken from a good arch.

        One choice is taken first, then twice as many, until the limits are met.

        Args:
            rows: archs with indices in range, (n, n choices).
            rng: generator that decides which choices are taken.
        """
        space = self.problem.space
        rows = space.canonical(rows)
        bad = np.flatnonzero(~self.problem.admits(rows))
        if not len(bad):
            return rows
        rows = rows.copy()
        anchors = self._anchors[rng.integers(len(self._anchors), size=len(bad))]
        turn = rng.random(anchors.shape).argsort(axis=1)  # the order in which choices are taken over
        taken = 1
        while len(bad):
            tried = space.canonical(np.where(turn < taken, anchors, rows[bad]))
            good = self.problem.admits(tried)
            if taken >= rows.shape[1]:
                good[:] = True  # now the anchor itself, which meets the limits
            rows[bad[good]] = tried[good]
            bad, anchors, turn = bad[~good], anchors[~good], turn[~good]
            taken *= 2
        return rows


class Proposals:
    """The archs that were proposed, so that none is proposed twice."""

    def __init__(self, feasible: Feasible) -> None:
        self._feasible = feasible
        self._seen: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def mark(self, rows: Rows) -> None:
        """Notes archs that were proposed or scored."""
        self._seen.update(row.tobytes() for row in np.ascontiguousarray(rows, dtype=np.int64))

    def unseen(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each row is new and not repeated further up, (n,)."""
        here: set[bytes] = set()
        new = np.zeros(len(rows), dtype=bool)
        for index, row in enumerate(np.ascontiguousarray(rows, dtype=np.int64)):
            key = row.tobytes()
            new[index] = key not in self._seen and key not in here
            here.add(key)
        return new

    def draw(self, n: int, rng: np.random.Generator) -> Rows:
        """Up to n new random archs that meet the limits, marked; fewer where few or none are left."""
        found = np.empty((0, len(self._feasible.problem.space.choices)), dtype=np.int64)
        for _ in range(TRIES):
            rows = self._feasible.sample(max(2 * (n - len(found)), 8), rng)
            rows = rows[self.unseen(rows)][: n - len(found)]
            self.mark(rows)
            found = np.vstack([found, rows])
            if len(found) >= n:
                return found
        listed = self._feasible.problem.listed
        if listed is not None:  # sampling finds the last few of a small space too slowly
            left = listed[self.unseen(listed)]
            rows = left[rng.permutation(len(left))[: n - len(found)]]
            self.mark(rows)
            found = np.vstack([found, rows])
        return found
