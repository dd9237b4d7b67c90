"""The search: proposals go to a pool, outcomes come back in any order, every trial is on the disk at once.

A search that was killed is resumed by replay: the searcher is made anew with the same seed and told the
logged outcomes in their order, so it stands exactly where it stood; nothing about it needs to be stored.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from nas.search.feasible import Feasible, Proposals
from nas.search.pool import Evaluate, Outcome, Pool, SerialPool
from nas.search.problem import Costs, Problem
from nas.search.result import SearchResult, check_reference, front_of, result_of
from nas.search.searchers import SearcherChoice, named
from nas.search.searchers.searcher import Searcher
from nas.search.trials import TrialLog, finite
from results.names import unknown
from results.records import Trial
from search_spaces.space import Arch, Rows, SearchSpace

TRIES = 50
FAILURES_TO_STOP_AT = 10
DEFAULT = "guided"
OnTrial = Callable[[int, int, Trial, Sequence[Trial]], None]


def search(
    space: SearchSpace,
    evaluate: Evaluate | None = None,
    *,
    objectives: Mapping[str, str],
    budget: int,
    constraints: Mapping[str, float] | None = None,
    costs: Costs | None = None,
    searcher: SearcherChoice = DEFAULT,
    seed: int = 0,
    pool: Pool | None = None,
    log: Path | None = None,
    on_trial: OnTrial | None = None,
    first: Sequence[Arch] = (),
    reference: Mapping[str, float] | None = None,
) -> SearchResult:
    """Searches a space for the archs that trade the objectives off best under the limits.

    Args:
        space: space of archs.
        evaluate: function from an arch to a dictionary with every objective that ``costs`` does not give.
            What it raises, a missing number or a NaN is recorded as a failed trial and the search goes on.
        objectives: one to four objectives, name to ``max`` or ``min``.
        budget: number of archs to evaluate, failed ones included. None is evaluated twice.
        constraints: limits by name, on costs (at most), minimised objectives (at most) or maximised ones
            (at least). Limits on costs are met by every arch that is evaluated. Where ``costs`` gives
            ``latency_ms_upper`` too, a limit on ``latency_ms`` is compared with that.
        costs: function from canonical rows to a dictionary of (n,) arrays, known without an evaluation.
        searcher: name in ``SEARCHERS``, name and settings, or what makes one from a problem and a seed.
        seed: seed of every random decision.
        pool: pool that evaluates in place of ``evaluate``, several archs at a time; it is closed at the end.
        log: file of the trials, appended as lines of JSON. If it holds trials of this search already,
            the search continues where it ended. A serial search ends the same as if it had never stopped;
            with several evaluations under way none is lost or repeated.
        on_trial: function called after each new trial with the number done, the budget, the trial, the front.
        first: archs to evaluate before the searcher proposes any, those within the limits; the searcher
            learns from them, and they count in the budget. A search that is continued is given the same.
        reference: worst value of each objective that counts for hypervolume. To compare searches, give
            the others the ``reference`` of the first. None takes the limits, for costs without one the worst
            of some archs, and for what is measured the median of this search's trials.

    Returns:
        Trials, front and hypervolume.

    Raises:
        ValueError: impossible objectives, budget, limits or settings of a searcher, limits that nothing meets
            (with a diagnosis), a log of another search, or an evaluator that fails from the start.
    """
    if (evaluate is None) == (pool is None):
        raise ValueError("give either evaluate= (a function) or pool= (a pool of workers)")
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise ValueError(f"the budget is a number of evaluations, at least 1, got {budget!r}")
    problem = Problem(space, objectives, constraints, costs, log=log)
    if reference is not None:
        check_reference(problem, reference)
    name, make = named(searcher)
    journal = TrialLog(log, _identity(problem, name, seed))
    made = make(problem, seed)
    if not isinstance(made, Searcher):
        what = type(made).__name__
        raise ValueError(f"{name!r} makes a {what}, which is no searcher; subclass nas.search.Searcher")
    if budget < min(made.population, space.size):
        raise ValueError(
            f"a budget of {budget} is under the population of {name!r}, {made.population}: it would end "
            f"before anything is learnt. Give at least {made.population} evaluations, or another searcher."
        )
    run = _Run(problem, made, budget, seed)
    run.begin_with(first)
    for trial in journal.trials:
        run.replay(trial)
    pool = pool if pool is not None else SerialPool(evaluate)  # type: ignore[arg-type]
    try:
        _evaluate(run, pool, journal, on_trial)
    finally:
        pool.close()
    return result_of(problem, journal.trials, reference=reference, rounds=tuple(made.rounds))


def _identity(problem: Problem, name: str, seed: int) -> dict[str, object]:
    return {
        "space": f"{problem.space.name} {problem.space.fingerprint}",
        "objectives": {o.name: "max" if o.maximise else "min" for o in problem.objectives},
        "constraints": {limit.name: limit.bound for limit in problem.limits},
        "searcher": name,
        "seed": seed,
    }


def _evaluate(run: _Run, pool: Pool, journal: TrialLog, on_trial: OnTrial | None) -> None:
    """Keeps the pool busy until the budget is spent or the searcher has nothing left."""
    session = run.begin_session(pool.capacity)
    failed = 0
    while True:
        for ticket, row in run.plan():
            pool.submit(ticket, run.problem.space.to_arch(row))
        if not run.under_way:
            return
        outcome = pool.next()
        if outcome.scores and not any(trial.ok for trial in journal.trials):
            _check_given(run.problem, outcome.scores)
        trial = _trial(run, outcome, session, pool.capacity)
        journal.append(trial)
        run.finish(trial)
        if on_trial is not None:
            on_trial(len(journal.trials), run.budget, trial, front_of(run.problem, journal.trials))
        failed = failed + 1 if not trial.ok else 0
        if failed >= FAILURES_TO_STOP_AT and not any(t.ok for t in journal.trials):
            raise ValueError(
                f"the first {len(journal.trials)} evaluations all failed; the last one: {trial.error}. "
                "Nothing is lost: mend the evaluator, delete the log and search again."
            )


def _check_given(problem: Problem, scores: Mapping[str, float]) -> None:
    """Checks that the first evaluation with scores has all objectives: a misspelt one never comes."""
    for name in problem.measured:
        if name not in scores:
            raise ValueError(
                f"objective {name!r} is no cost, and the evaluation does not give it: "
                f"{unknown('score', name, [*scores, *problem.cost_names])}"
            )


def _trial(run: _Run, outcome: Outcome, session: int, capacity: int) -> Trial:
    row = run.under_way[outcome.ticket]
    costs = {name: values[0] for name, values in run.problem.costs(row[None]).items()}
    scores, error = outcome.scores, outcome.error
    if scores is not None:
        wrong = [name for name in run.problem.measured if not math.isfinite(scores.get(name, math.nan))]
        if wrong:
            told = ", ".join(
                f"{name} is {scores[name]}" if name in scores else f"{name} is missing" for name in wrong
            )
            scores, error = None, f"the evaluation gave no usable score: {told}"
    return Trial(
        ticket=outcome.ticket,
        arch=run.problem.space.to_arch(row),
        scores=None if scores is None else finite(scores),
        costs=finite(costs),
        error=error,
        seconds=outcome.seconds,
        worker=outcome.worker,
        session=session,
        capacity=capacity,
    )


class _Run:
    """State of a search: proposed, under way and finished archs; outcomes come from a pool or a log."""

    def __init__(self, problem: Problem, searcher: Searcher, budget: int, seed: int) -> None:
        self.problem = problem
        self.budget = budget
        self.under_way: dict[int, Rows] = {}
        self._searcher = searcher
        self._feasible = Feasible(problem)
        self._seen = Proposals(self._feasible)
        self._rng = np.random.default_rng([seed, 7])
        self._waiting: deque[tuple[int, Rows]] = deque()
        self._asked = 0
        self._session = -1
        self._capacity = 1

    def begin_with(self, archs: Sequence[Arch]) -> None:
        """Plans archs that meet the limits before all that the searcher proposes."""
        if not archs:
            return
        rows = np.array([self.problem.space.to_row(arch) for arch in archs])
        rows = rows[self.problem.admits(rows)]
        rows = rows[self._seen.unseen(rows)][: self.budget]
        self._seen.mark(rows)
        self._waiting.extend(enumerate(rows))
        self._asked = len(rows)

    def begin_session(self, capacity: int) -> int:
        """Begins a session, in which what was under way is evaluated again; returns its number."""
        self._waiting = deque(sorted([*self.under_way.items(), *self._waiting], key=lambda item: item[0]))
        self.under_way = {}
        self._session += 1
        self._capacity = max(1, capacity)
        return self._session

    def plan(self) -> list[tuple[int, Rows]]:
        """The archs to submit to the pool now, as (ticket, row)."""
        planned = []
        while len(self.under_way) < self._capacity:
            if self._waiting:
                ticket, row = self._waiting.popleft()
            elif self._asked < self.budget and (proposed := self._propose()) is not None:
                ticket, row = self._asked, proposed
                self._asked += 1
            else:
                break
            self.under_way[ticket] = row
            planned.append((ticket, row))
        return planned

    def finish(self, trial: Trial) -> None:
        """Tells the searcher the scores of a trial."""
        row = self.under_way.pop(trial.ticket)
        scores = (
            self.problem.minimised(trial.numbers)
            if trial.ok
            else np.full(len(self.problem.objectives), np.nan)
        )
        self._searcher.tell(row[None], scores[None])

    def replay(self, trial: Trial) -> None:
        """Repeats the decisions that led to a logged trial."""
        while trial.session > self._session:
            self.begin_session(trial.capacity)
        self.plan()
        # Should a newer version propose differently, what was evaluated still counts and is not repeated.
        row = self.problem.space.to_row(trial.arch)
        self._seen.mark(row[None])
        self._waiting = deque(item for item in self._waiting if item[0] != trial.ticket)
        self.under_way[trial.ticket] = row
        self._asked = max(self._asked, trial.ticket + 1)
        self.finish(trial)

    def _propose(self) -> Rows | None:
        """The searcher's next arch that is new and meets the limits, (n choices,).

        A searcher that keeps to neither is corrected: an arch over a limit is repaired, after a repetition it
        is asked again, and after some tries a random arch takes the place of its proposal.
        """
        space = self.problem.space
        for _ in range(TRIES):
            asked = self._searcher.ask(1)
            if not len(asked):
                return None
            if not space.in_range(asked).all():
                raise ValueError(
                    f"the searcher proposed {asked.tolist()}, which is no arch of {space.name!r}"
                )
            rows = self._feasible.repair(asked, self._rng)
            if self._seen.unseen(rows)[0]:
                self._seen.mark(rows)
                return rows[0]
        drawn = self._seen.draw(1, self._rng)
        return drawn[0] if len(drawn) else None
