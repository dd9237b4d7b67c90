"""Every searcher keeps to the contract that users run on theirs."""

import json
import os
import subprocess
import sys
from functools import partial

import pytest

from nas.search import contract, searchers
from nas.search.searcher import searcher
from nas.search.searchers.linas import Linas

WITHOUT_CHANCE = ("slimming", "nested")
# Optuna's Gaussian process takes seconds a proposal, and CMA-ES takes neither categories nor two objectives.
NAMES = [name for name in searchers() if name not in ("optuna_gp", "optuna_cmaes")]
CASES = [
    (name, check)
    for name in NAMES
    for check in contract.CHECKS
    if not (name in WITHOUT_CHANCE and check is contract.other_seeds_differ)
]


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize(("name", "check"), CASES, ids=[f"{name}-{check.__name__}" for name, check in CASES])
def test_contract(name, check, tmp_path):
    make = partial(Linas, generations=5) if name == "linas" else searcher(name)  # the inner search is slow
    check(make, tmp_path)


def test_no_searcher_is_without_a_test():
    assert set(searchers()) - set(NAMES) == {"optuna_gp", "optuna_cmaes"}


PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import nas.search.registry
from nas.search.contract import proposals
from nas.search.searchers.linas import Linas
from nas.search.searcher import searcher
print(json.dumps({name: proposals(searcher(name), 2, 25).tolist() for name in sys.argv[1:]}))
"""


def test_another_process_with_another_hash_seed_proposes_the_same():
    found = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *NAMES],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert found[0] == found[1]
