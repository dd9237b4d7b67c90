"""Every searcher keeps the rules of its space, listed or not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from nas.search import SEARCHERS, contract, search
from nas.search.searchers.searcher import Searcher
from search_spaces.choice import Value
from search_spaces.rules import Forbid, Rule
from search_spaces.space import Rows, SearchSpace
from search_spaces.spaces.narrowed import ruled
from tests.nas.search.test_contract import NAMES


def with_rules() -> SearchSpace:
    """The contract's space without large kernels first and without attention in wide networks: a fifth."""
    falling = Rule(
        choices=("kernel0", "kernel1"),
        allows=lambda first, second: first <= second,
        text="kernels never fall",
    )
    narrow = Forbid(values={"mixer*": "attention", "width": "> 8"})
    return ruled(contract.small_space(), [falling, narrow, Forbid(values={"width": 8, "depth": 3})])


def keeps(arch: Mapping[str, Value]) -> bool:
    depth = int(arch["depth"])
    mixers = [arch[f"mixer{block}"] for block in range(depth)]
    kernels = [int(arch[f"kernel{block}"]) for block in range(min(depth, 2)) if mixers[block] == "conv"]
    return (
        (len(kernels) < 2 or kernels[0] <= kernels[1])
        and not ("attention" in mixers and int(arch["width"]) > 8)
        and not (arch["width"] == 8 and depth == 3)
    )


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_no_searcher_scores_what_a_rule_forbids(
    name: str, listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not listed and name != "exhaustive":
        monkeypatch.setattr("nas.search.problem.ENUMERABLE", 0)
    space = with_rules()
    found = search(
        space,
        contract.small_accuracy,
        objectives={"accuracy": "max", "latency_ms": "min"},
        constraints={"latency_ms": 20.0},
        costs=contract.small_costs,
        budget=30,
        searcher=(name, {"generations": 3} if name == "linas" else {}),
    )
    assert len(found.trials)
    assert all(map(keeps, found.trials.to_dict("records")))


class Stubborn(Searcher):
    """Proposes what it likes, broken rules too."""

    def __init__(self, problem: object, seed: int) -> None:
        self._space, self._rng = contract.small_space(), np.random.default_rng(seed)
        _ = problem

    def ask(self, n: int) -> Rows:
        return self._space.sample(n, self._rng)

    def tell(self, rows: Rows, scores: object) -> None:
        pass


def test_what_a_searcher_of_ones_own_proposes_is_repaired() -> None:
    found = search(
        with_rules(), contract.small_accuracy, objectives={"accuracy": "max"}, budget=25, searcher=Stubborn
    )
    assert len(found.trials) == 25
    assert all(map(keeps, found.trials.to_dict("records")))


def test_every_searcher_is_asked() -> None:
    assert set(NAMES) <= set(SEARCHERS)
