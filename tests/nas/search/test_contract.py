"""Every searcher keeps to the contract that users run on theirs."""

import json
import os
import subprocess
import sys

import pytest

from nas.search import SEARCHERS, contract
from nas.search.problem import Problem
from nas.search.searchers import label, least_budget, named

WITHOUT_CHANCE = ("slimming", "nested")
# Optuna's Gaussian process takes seconds a proposal, and CMA-ES takes neither categories nor two objectives.
NAMES = [name for name in SEARCHERS if name not in ("optuna_gp", "optuna_cmaes")]
CASES = [
    (name, check)
    for name in NAMES
    for check in contract.CHECKS
    if not (name in WITHOUT_CHANCE and check is contract.other_seeds_differ)
]


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize(("name", "check"), CASES, ids=[f"{name}-{check.__name__}" for name, check in CASES])
def test_contract(name, check, tmp_path):
    options = {"generations": 5} if name == "linas" else {}  # the inner search is slow
    check(SEARCHERS.configured(name, options), tmp_path)


def test_no_searcher_is_without_a_test():
    assert set(SEARCHERS) - set(NAMES) == {"optuna_gp", "optuna_cmaes"}


@pytest.mark.parametrize("name", NAMES)
def test_the_least_budget_is_known_before_a_searcher_is_made(name):
    population = {"population": 11} if "population" in SEARCHERS[name].settings else {}
    for options in ({}, population):
        made = SEARCHERS.configured(name, options)(contract.small_problem(), 0)
        assert least_budget(name, options) == made.population
    assert least_budget(name, population) == population.get("population", 1)


def test_settings_reach_the_searcher():
    problem = Problem(contract.small_space(), {"accuracy": "max"})
    _, make = named(("nsga2", {"population": 7}))
    assert len(make(problem, 0).ask(100)) == 7


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("nsga2", {}, "nsga2"),
        ("nsga2", {"population": 24}, "nsga2"),  # the default
        ("nsga2", {"population": 40}, "nsga2-population=40"),
        ("guided", {"patience": 5, "first": 20}, "guided-first=20-patience=5"),
        ("guided", {"first": 20, "patience": 5}, "guided-first=20-patience=5"),
    ],
)
def test_labels_tell_settings_apart_and_defaults_do_not_count(name, options, expected):
    assert label(name, options) == expected
    assert named((name, options))[0] == expected


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("nsga2", {"popluation": 40}, "'nsga2' has no setting 'popluation'. Did you mean 'population'"),
        ("nsga2", {"population": 1}, "population = 1: .*greater than or equal to 2"),
        ("guided", {"first": "many"}, "first = 'many': .*integer"),
        ("ngsa2", {}, "unknown searcher 'ngsa2'. Did you mean 'nsga2'"),
        ("optuna_tpe", {"sampler": "gp"}, "'optuna_tpe' has no setting 'sampler'"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_made(name, options, told):
    with pytest.raises(ValueError, match=told):
        named((name, options))


PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
from nas.search import SEARCHERS
from nas.search.contract import proposals
print(json.dumps({name: proposals(SEARCHERS[name].part, 2, 25).tolist() for name in sys.argv[1:]}))
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
