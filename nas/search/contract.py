"""The contract of every searcher, as checks that you can run on yours.

    @pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
    def test_my_searcher(check, tmp_path):
        check(MySearcher, tmp_path)

Each check takes a function that makes a searcher, and an empty folder; it raises AssertionError in words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from nas.search.engine import search
from nas.search.pool import Evaluate, Outcome, Pool, SerialPool
from nas.search.problem import Problem
from nas.search.result import SearchResult
from nas.search.searchers.searcher import MakeSearcher
from search_spaces.choice import Choice
from search_spaces.space import Arch, Rows, SearchSpace

OBJECTIVES = {"accuracy": "max", "latency_ms": "min"}
LIMITS = {"latency_ms": 6.0}
Check = Callable[[MakeSearcher, Path], None]


def small_space() -> SearchSpace:
    """A space of some thousand archs with numbers, categories and choices that depend on others."""
    choices = [Choice("width", (8, 16, 24, 32)), Choice("depth", (1, 2, 3))]
    for block in range(3):
        deep = tuple(depth for depth in (1, 2, 3) if depth > block)
        choices.append(Choice(f"mixer{block}", ("pooling", "conv", "attention"), "depth", deep))
        choices.append(Choice(f"kernel{block}", (3, 5, 7), f"mixer{block}", ("conv",)))
    return SearchSpace("contract", choices, _no_network)


def _no_network(arch: Arch) -> NoReturn:
    raise ValueError(f"the contract's space builds no networks ({len(arch)} choices)")


def small_costs(rows: Rows) -> dict[str, NDArray[np.float64]]:
    """A latency that grows with everything."""
    width, depth = (rows[:, 0] + 1.0), rows[:, 1] + 1
    latency = np.asarray(0.2 * width, dtype=np.float64)
    for block in range(3):
        mixer, kernel = rows[:, 2 + 2 * block], rows[:, 3 + 2 * block]
        latency = latency + (depth > block) * width * (0.2 + 0.3 * mixer + 0.1 * kernel)
    return {"latency_ms": latency}


def small_accuracy(arch: Arch) -> dict[str, float]:
    """An accuracy that saturates, with a preference among mixers."""
    good = {"pooling": 0.2, "conv": 0.7, "attention": 0.6}
    gain = sum(
        good[str(arch[f"mixer{block}"])] + 0.05 * (arch[f"kernel{block}"] == 5)
        for block in range(int(arch["depth"]))
    )
    return {"accuracy": 1.0 - 0.5 / (1.0 + gain) - 0.2 / float(arch["width"])}


def small_problem(objectives: Mapping[str, str] = OBJECTIVES) -> Problem:
    """The problem that the checks search."""
    return Problem(small_space(), objectives, LIMITS, small_costs)


def proposals(make: MakeSearcher, seed: int, n: int, problem: Problem | None = None) -> Rows:
    """The first n archs a searcher proposes when each is scored before the next, (at most n, n choices)."""
    problem = problem or small_problem()
    searcher = make(problem, seed)
    rows: list[Rows] = []
    while len(rows) < n and len(asked := searcher.ask(1)):
        rows.append(asked[0])
        numbers = small_accuracy(problem.space.to_arch(asked[0])) | {
            name: float(values[0]) for name, values in problem.costs(asked).items()
        }
        searcher.tell(asked, problem.minimised(numbers)[None])
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(problem.space.choices))


def repeats_itself(make: MakeSearcher, folder: Path) -> None:  # noqa: ARG001
    """The same seed proposes the same archs."""
    assert np.array_equal(proposals(make, 3, 40), proposals(make, 3, 40)), (
        "one seed gave two different searches"
    )


def other_seeds_differ(make: MakeSearcher, folder: Path) -> None:  # noqa: ARG001
    """Another seed proposes others; for searchers with random decisions."""
    assert not np.array_equal(proposals(make, 3, 40), proposals(make, 4, 40)), (
        "two seeds gave the same search"
    )


def keeps_to_the_limits(make: MakeSearcher, folder: Path) -> None:  # noqa: ARG001
    """Every proposal is a canonical arch of the space, within the limits, and new."""
    problem = small_problem()
    rows = proposals(make, 0, 60)
    assert len(rows), "nothing was proposed"
    assert problem.admits(rows).all(), "an arch over the limit was proposed"
    assert np.array_equal(problem.space.canonical(rows), rows), "an arch that is not canonical was proposed"
    assert len(np.unique(rows, axis=0)) == len(rows), "an arch was proposed twice"


def one_objective_will_do(make: MakeSearcher, folder: Path) -> None:  # noqa: ARG001
    """A single objective is searched too."""
    assert len(proposals(make, 0, 30, small_problem({"accuracy": "max"}))), "nothing was proposed"


def respects_the_budget(make: MakeSearcher, folder: Path) -> None:  # noqa: ARG001
    """No more archs are evaluated than the budget."""
    found = _search(make, budget=37)
    assert len(found.trials) <= 37, f"{len(found.trials)} trials of a budget of 37"


def ends_when_nothing_is_left(make: MakeSearcher, folder: Path) -> None:  # noqa: ARG001
    """A space of six archs is searched and the search ends."""
    space = SearchSpace("six", [Choice("a", (1, 2, 3)), Choice("b", ("x", "y"))], _no_network)
    with contextlib.suppress(ValueError):  # a searcher may say that it cannot search this
        found = search(
            space,
            lambda arch: {"accuracy": float(arch["a"])},
            objectives={"accuracy": "max"},
            costs=lambda rows: {"latency_ms": 1.0 + rows.sum(axis=1)},
            budget=50,
            searcher=make,
        )
        assert len(found.trials) <= 6, "an arch was evaluated twice"


def ends_at_impossible_limits(make: MakeSearcher, folder: Path) -> None:  # noqa: ARG001
    """A limit that nothing meets is reported at once."""
    told = ""
    try:
        _search(make, budget=5, limits={"latency_ms": 0.01})
    except ValueError as error:
        told = str(error)
    assert told, "an impossible limit was searched for"
    assert "would be met" in told, f"the diagnosis names no limit that would be met: {told}"


def stands_failures(make: MakeSearcher, folder: Path) -> None:  # noqa: ARG001
    """Every third arch fails, and the search goes on."""
    count = iter(range(1000))

    def evaluate(arch: Arch) -> dict[str, float]:
        if next(count) % 3 == 2:
            raise RuntimeError("planted")
        return small_accuracy(arch)

    found = _search(make, budget=36, evaluate=evaluate)
    failed = found.trials[found.trials["status"] == "failed"]
    assert len(failed) or len(found.trials) < 3, "failed trials are missing"
    assert (failed["error"] == "RuntimeError: planted").all(), "the reason of a failure is lost"


def takes_outcomes_in_any_order(make: MakeSearcher, folder: Path) -> None:  # noqa: ARG001
    """Four evaluations are under way, and the last submitted ends first."""
    pool = LastFirst(small_accuracy, capacity=4)
    found = _search(make, budget=40, pool=pool)
    assert len(set(found.trials["trial"])) == len(found.trials) == pool.evaluated, (
        "a trial is lost or repeated"
    )


def resumes_to_the_same_end(make: MakeSearcher, folder: Path) -> None:
    """Stopped after some trials and continued, the search ends as if it had not stopped."""
    whole = _search(make, budget=45, log=folder / "whole.jsonl")
    _search(make, budget=31, log=folder / "parts.jsonl")
    parts = _search(make, budget=45, log=folder / "parts.jsonl")
    differing = [name for name in whole.trials if name not in ("seconds", "worker")]
    assert whole.trials[differing].equals(parts.trials[differing]), "the resumed search went another way"
    assert whole.archs == parts.archs, "the resumed search ended in another front"


class LastFirst:
    """A pool that finishes what was submitted last first."""

    def __init__(self, evaluate: Callable[[Arch], Mapping[str, float]], *, capacity: int) -> None:
        self.capacity = capacity
        self.evaluated = 0
        self._evaluate = evaluate
        self._open: list[tuple[int, Arch]] = []

    def submit(self, ticket: int, arch: Arch) -> None:
        self._open.append((ticket, arch))
        assert len(self._open) <= self.capacity, "more was submitted than the pool takes"

    def next(self) -> Outcome:
        self.evaluated += 1
        one = SerialPool(self._evaluate)
        one.submit(*self._open.pop())
        return one.next()

    def close(self) -> None:
        self._open.clear()


def _search(
    make: MakeSearcher,
    *,
    budget: int,
    evaluate: Evaluate = small_accuracy,
    limits: Mapping[str, float] = LIMITS,
    pool: Pool | None = None,
    log: Path | None = None,
) -> SearchResult:
    return search(
        small_space(),
        None if pool else evaluate,
        pool=pool,
        objectives=OBJECTIVES,
        constraints=limits,
        costs=small_costs,
        budget=budget,
        searcher=make,
        seed=5,
        log=log,
    )


CHECKS: Sequence[Check] = (
    repeats_itself,
    other_seeds_differ,
    keeps_to_the_limits,
    one_objective_will_do,
    respects_the_budget,
    ends_when_nothing_is_left,
    ends_at_impossible_limits,
    stands_failures,
    takes_outcomes_in_any_order,
    resumes_to_the_same_end,
)
"""Every check; ``other_seeds_differ`` is not for searchers without random decisions."""
