"""The searchers of this package, by name. A user's own is registered the same way, or passed as it is."""

from __future__ import annotations

from functools import partial

from nas.search.evolution import Evolution
from nas.search.exhaustive import Exhaustive
from nas.search.guided import Guided
from nas.search.linas import Linas
from nas.search.local_search import LocalSearch
from nas.search.nested import Nested
from nas.search.nni_tuner import TUNERS, NniSearch
from nas.search.nsga2 import Nsga2
from nas.search.optuna_study import SAMPLERS, OptunaSearch
from nas.search.random_search import RandomSearch
from nas.search.searcher import register
from nas.search.slimming import Slimming

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
