"""Optuna's samplers by name. Their settings have Optuna's own names and defaults."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from nas.search.problem import Problem
from nas.search.searchers.optuna_search import OptunaSearch, excess, quiet


class OptunaTpe(OptunaSearch):
    """The tree-structured Parzen estimator.

    "Algorithms for Hyper-Parameter Optimization" (Bergstra et al., 2011), section 4.

    Args:
        problem: problem to search.
        seed: seed of the sampler and of repairs.
        n_startup_trials: archs drawn at random before the model proposes.
        n_ei_candidates: candidates compared for each proposal.

    Example:
        >>> from nas.search import contract, search
        >>> found = search(
        ...     contract.small_space(),
        ...     contract.small_accuracy,
        ...     objectives={"accuracy": "max", "latency_ms": "min"},
        ...     constraints={"latency_ms": 6.0},
        ...     costs=contract.small_costs,
        ...     budget=20,
        ...     searcher=("optuna_tpe", {"n_startup_trials": 5}),
        ... )
        >>> len(found.trials)
        20
    """

    sampler_name = "tpe"
    conditional = True

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        n_startup_trials: Annotated[int, Field(ge=1)] = 10,
        n_ei_candidates: Annotated[int, Field(ge=1)] = 24,
    ) -> None:
        with quiet():
            from optuna.samplers import TPESampler

            sampler = TPESampler(
                seed=seed,
                n_startup_trials=n_startup_trials,
                n_ei_candidates=n_ei_candidates,
                constraints_func=excess(problem),
            )
        super().__init__(problem, seed, sampler)


class OptunaGp(OptunaSearch):
    """Optuna's Gaussian process. A proposal takes seconds, so an arch over a limit is repaired at once.

    Args:
        problem: problem to search.
        seed: seed of the sampler and of repairs.
        n_startup_trials: archs drawn at random before the model proposes.
    """

    sampler_name = "gp"
    tries: ClassVar[int] = 1

    def __init__(
        self, problem: Problem, seed: int, *, n_startup_trials: Annotated[int, Field(ge=1)] = 10
    ) -> None:
        with quiet():
            from optuna.samplers import GPSampler

            sampler = GPSampler(
                seed=seed, n_startup_trials=n_startup_trials, constraints_func=excess(problem)
            )
        super().__init__(problem, seed, sampler)


class OptunaNsga2(OptunaSearch):
    """Optuna's NSGA-II: "A fast and elitist multiobjective genetic algorithm: NSGA-II" (Deb et al., 2002).

    Args:
        problem: problem to search.
        seed: seed of the sampler and of repairs.
        population_size: archs of a generation; the first generation is drawn at random.
    """

    sampler_name = "nsga2"

    def __init__(
        self, problem: Problem, seed: int, *, population_size: Annotated[int, Field(ge=2)] = 50
    ) -> None:
        with quiet():
            from optuna.samplers import NSGAIISampler

            sampler = NSGAIISampler(
                seed=seed, population_size=population_size, constraints_func=excess(problem)
            )
        super().__init__(problem, seed, sampler)


class OptunaNsga3(OptunaSearch):
    """Optuna's NSGA-III, for three objectives and more (Deb and Jain, 2014).

    Args:
        problem: problem to search.
        seed: seed of the sampler and of repairs.
        population_size: archs of a generation; the first generation is drawn at random.
    """

    sampler_name = "nsga3"

    def __init__(
        self, problem: Problem, seed: int, *, population_size: Annotated[int, Field(ge=2)] = 50
    ) -> None:
        with quiet():
            from optuna.samplers import NSGAIIISampler

            sampler = NSGAIIISampler(
                seed=seed, population_size=population_size, constraints_func=excess(problem)
            )
        super().__init__(problem, seed, sampler)


class OptunaCmaEs(OptunaSearch):
    """Covariance matrix adaptation: "The CMA Evolution Strategy" (Hansen, 2016); one objective, numbers only.

    Args:
        problem: problem to search.
        seed: seed of the sampler and of repairs.
        n_startup_trials: archs drawn at random before the strategy proposes.

    Raises:
        ValueError: several objectives or choices of categories, or the package ``cmaes`` is missing.
    """

    sampler_name = "cmaes"
    by_index = True

    def __init__(
        self, problem: Problem, seed: int, *, n_startup_trials: Annotated[int, Field(ge=1)] = 1
    ) -> None:
        _check_cmaes(problem)
        with quiet():
            from optuna.samplers import CmaEsSampler

            sampler = CmaEsSampler(seed=seed, n_startup_trials=n_startup_trials)
        super().__init__(problem, seed, sampler)


def _check_cmaes(problem: Problem) -> None:
    categories = [choice.name for choice in problem.space.choices if choice.categorical]
    if len(problem.objectives) > 1 or categories:
        why = (
            f"{len(problem.objectives)} objectives"
            if len(problem.objectives) > 1
            else f"categories ({categories[0]})"
        )
        raise ValueError(
            f"CMA-ES takes one objective and numeric choices; this search has {why}. Use optuna_tpe."
        )
    try:
        import cmaes  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        raise ValueError("optuna_cmaes needs the package cmaes: pip install cmaes") from error
