"""The searchers by name, one file each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from nas.search.searchers.evolution import Evolution
from nas.search.searchers.exhaustive import Exhaustive
from nas.search.searchers.guided import Guided
from nas.search.searchers.linas import Linas
from nas.search.searchers.local_search import LocalSearch
from nas.search.searchers.nested import Nested
from nas.search.searchers.nni_search import NniEvolution, NniTpe
from nas.search.searchers.nsga2 import Nsga2
from nas.search.searchers.optuna_samplers import OptunaCmaEs, OptunaGp, OptunaNsga2, OptunaNsga3, OptunaTpe
from nas.search.searchers.random_search import RandomSearch
from nas.search.searchers.searcher import MakeSearcher
from nas.search.searchers.slimming import Slimming
from results.registry import Registry

SEARCHERS: Registry[MakeSearcher] = Registry("searcher")
"""Every searcher by name; a user's own is added with ``SEARCHERS.register("name")``."""

SEARCHERS.add("random", RandomSearch)
SEARCHERS.add("guided", Guided)
SEARCHERS.add("linas", Linas)
SEARCHERS.add("nsga2", Nsga2)
SEARCHERS.add("evolution", Evolution)
SEARCHERS.add("local", LocalSearch)
SEARCHERS.add("exhaustive", Exhaustive)
SEARCHERS.add("slimming", Slimming)
SEARCHERS.add("nested", Nested)
SEARCHERS.add("optuna_tpe", OptunaTpe)
SEARCHERS.add("optuna_gp", OptunaGp)
SEARCHERS.add("optuna_nsga2", OptunaNsga2)
SEARCHERS.add("optuna_nsga3", OptunaNsga3)
SEARCHERS.add("optuna_cmaes", OptunaCmaEs)
SEARCHERS.add("nni_tpe", NniTpe)
SEARCHERS.add("nni_evolution", NniEvolution)

SearcherChoice = str | tuple[str, Mapping[str, object]] | MakeSearcher
"""A name, a name with settings, or what makes a searcher from a problem and a seed."""


def least_budget(name: str, options: Mapping[str, object]) -> int:
    """The evaluations below which a searcher would end before it has learnt anything.

    Args:
        name: name in ``SEARCHERS``.
        options: its settings.

    Raises:
        ValueError: no searcher of that name, or a population that is none.
    """
    population = SEARCHERS[name].settings.get("population")
    if population is None:
        return 1
    return int(str(population.check(options.get("population", population.default))))


def label(name: str, options: Mapping[str, object]) -> str:
    """What tells a searcher with these settings from others in logs and file names: ``nsga2-population=40``.

    Settings that have their default are left out, so that a searcher without any has its name.

    Args:
        name: name in ``SEARCHERS``.
        options: its settings.

    Raises:
        ValueError: no such searcher or setting.
    """
    settings = SEARCHERS[name].settings
    if problems := SEARCHERS[name].problems(options):
        raise ValueError("; ".join(problems))
    changed = {key: settings[key].check(value) for key, value in sorted(options.items())}
    parts = [f"{key}={value}" for key, value in changed.items() if value != settings[key].default]
    return re.sub(r"[^\w.=+-]+", "_", "-".join([name, *parts]))


def named(searcher: SearcherChoice) -> tuple[str, MakeSearcher]:
    """The label of a searcher, and what makes it.

    Raises:
        ValueError: no such searcher, or everything that is wrong with its settings.
    """
    if isinstance(searcher, str):
        return searcher, SEARCHERS.configured(searcher, {})
    if isinstance(searcher, tuple):
        name, options = searcher
        return label(name, options), SEARCHERS.configured(name, options)
    return _made_by(searcher), searcher


def _made_by(make: MakeSearcher) -> str:
    """The name of a class or function, with the settings where it is a partial."""
    if isinstance(make, partial):
        options = ", ".join(f"{key}={value!r}" for key, value in sorted(make.keywords.items()))
        return f"{_made_by(make.func)}({options})"
    return str(getattr(make, "__name__", type(make).__name__))
