from __future__ import annotations

import numpy as np
import pytest

from nas.search.pool import Outcome, SerialPool
from runners.pools.evaluate_all import evaluate_all
from search_spaces.space import Arch


class Shuffling:
    """A pool that finishes in any order and notices when it is given too much at once."""

    def __init__(self, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self.most = 0
        self._generator = np.random.default_rng(seed)
        self._flying: list[tuple[int, Arch]] = []

    def submit(self, ticket: int, arch: Arch) -> None:
        self._flying.append((ticket, arch))
        self.most = max(self.most, len(self._flying))

    def next(self) -> Outcome:
        ticket, arch = self._flying.pop(int(self._generator.integers(len(self._flying))))
        return Outcome(ticket=ticket, scores={"y": float(arch["x"])})

    def close(self) -> None:
        self._flying.clear()


@pytest.mark.parametrize("capacity", [1, 3, 50])
def test_all_come_back_in_order_and_the_pool_is_full_and_no_fuller(capacity: int) -> None:
    pool = Shuffling(capacity, seed=capacity)
    finished: list[int] = []
    archs = [(ticket, {"x": ticket}) for ticket in range(100, 120)]
    done = evaluate_all(pool, archs, lambda outcome: finished.append(outcome.ticket))
    assert [(o.ticket, o.scores) for o in done] == [(t, {"y": float(t)}) for t in range(100, 120)]
    assert sorted(finished) == list(range(100, 120))
    assert pool.most == min(capacity, 20)


def test_nothing_to_do_is_no_work() -> None:
    assert evaluate_all(SerialPool(lambda arch: {}), [], lambda outcome: None) == []
