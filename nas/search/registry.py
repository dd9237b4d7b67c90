"""The searchers of this package, by name. A user's own is registered the same way, or passed as it is."""

from __future__ import annotations

from functools import partial

from nas.search.searcher import register
from nas.search.searchers.evolution import Evolution
from nas.search.searchers.exhaustive import Exhaustive
from nas.search.searchers.guided import Guided
from nas.search.searchers.linas import Linas
from nas.search.searchers.local_search import LocalSearch
from nas.search.searchers.nested import Nested
from nas.search.searchers.nni_tuner import TUNERS, NniSearch
from nas.search.searchers.nsga2 import Nsga2
from nas.search.searchers.optuna_study import SAMPLERS, OptunaSearch
from nas.search.searchers.random_search import RandomSearch
from nas.search.searchers.slimming import Slimming

register("random", RandomSearch)
register("guided", Guided)
register("linas", Linas)
register("nsga2", Nsga2)
register("evolution", Evolution)
register("local", LocalSearch)
register("exhaustive", Exhaustive)
register("slimming", Slimming)
register("nested", Nested)
for _sampler in SAMPLERS:
    register(f"optuna_{_sampler}", partial(OptunaSearch, sampler=_sampler))
for _tuner in TUNERS:
    register(f"nni_{_tuner}", partial(NniSearch, tuner=_tuner))
