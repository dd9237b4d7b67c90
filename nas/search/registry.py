"""The searchers of this package, by name. A user's own is registered the same way, or passed as it is."""

from __future__ import annotations

from functools import partial

from nas.search.nsga2 import Nsga2
from nas.search.optuna_study import SAMPLERS, OptunaSearch
from nas.search.random_search import RandomSearch
from nas.search.searcher import register

register("random", RandomSearch)
register("nsga2", Nsga2)
for _sampler in SAMPLERS:
    register(f"optuna_{_sampler}", partial(OptunaSearch, sampler=_sampler))
