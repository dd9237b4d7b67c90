"""The engine: what is recorded, what is resumed, what bad input gets."""

import subprocess
import sys

import numpy as np
import pytest

from nas.search import SEARCHERS, Searcher, contract, search
from nas.search.contract import LIMITS, OBJECTIVES, LastFirst, small_accuracy, small_costs, small_space
from nas.search.pool import Outcome, Pool, SerialPool
from nas.search.problem import Problem
from nas.search.searchers.nsga2 import Nsga2
from nas.search.searchers.random_search import RandomSearch
from results.files import read_lines
from results.front import hypervolume, non_dominated
from search_spaces.choice import Choice
from search_spaces.space import SearchSpace


def run(**changes):
    arguments = {
        "evaluate": small_accuracy,
        "objectives": OBJECTIVES,
        "constraints": LIMITS,
        "costs": small_costs,
        "budget": 20,
        "searcher": "random",
        "seed": 1,
    } | changes
    space = arguments.pop("space", None) or small_space()
    return search(space, arguments.pop("evaluate"), **arguments)


def test_the_front_is_the_non_dominated_trials():
    found = run(budget=40, searcher="nsga2")
    points = found.trials[["accuracy", "latency_ms"]].to_numpy() * [-1, 1]
    assert (found.trials["on_front"].to_numpy() == non_dominated(points)).all()
    assert len(found.front) == len(found.archs) == found.trials["on_front"].sum()
    assert (np.diff(found.front["accuracy"]) <= 0).all()
    assert found.archs[0] == {name: found.front.iloc[0][name] for name in small_space().names}
    assert (np.diff(found.hypervolume) >= 0).all()
    assert found.hypervolume[-1] > 0


def test_hypervolume_is_from_the_median_and_the_limit_or_as_given():
    control = run()
    median = control.trials["accuracy"].median()
    assert control.reference == pytest.approx({"accuracy": median} | LIMITS)
    points = control.trials[["accuracy", "latency_ms"]].to_numpy() * [-1, 1]
    volume = hypervolume(points, [-median, LIMITS["latency_ms"]])
    assert control.hypervolume[-1] == pytest.approx(volume, rel=1e-6)
    assert (run(reference=control.reference).hypervolume == control.hypervolume).all()
    assert run(reference={"accuracy": 0.0, "latency_ms": 3.0}).hypervolume[-1] > volume
    unlimited = run(constraints={}).reference  # the dearest of some archs bounds a cost without a limit
    assert unlimited["latency_ms"] >= run(constraints={}).trials["latency_ms"].max()


def test_no_trial_is_over_the_limit_and_all_are_said():
    seen = []
    found = run(
        on_trial=lambda done, budget, trial, front: seen.append((done, budget, trial.ticket, len(front)))
    )
    assert (found.trials["latency_ms"] <= LIMITS["latency_ms"]).all()
    assert [s[:3] for s in seen] == [(n + 1, 20, n) for n in range(20)]
    assert seen[-1][3] == len(found.front)


def test_the_upper_end_of_a_cost_is_what_a_limit_holds():
    def costs(rows):
        latency = small_costs(rows)["latency_ms"]
        return {"latency_ms": latency, "latency_ms_upper": 1.2 * latency}

    found = run(costs=costs)
    assert (found.trials["latency_ms"] <= LIMITS["latency_ms"] / 1.2).all()


def test_a_limit_on_what_is_measured_keeps_archs_off_the_front():
    found = run(objectives={"accuracy": "max", "latency_ms": "min"}, constraints={"accuracy": 0.65})
    assert (found.front["accuracy"] >= 0.65).all()
    assert (found.trials["feasible"] == (found.trials["accuracy"] >= 0.65)).all()


def test_a_measured_cost_counts_for_more_than_the_predicted():
    found = run(evaluate=lambda arch: small_accuracy(arch) | {"latency_ms": 7.0})
    assert (found.trials["latency_ms"] == 7.0).all()
    assert not found.trials["feasible"].any()
    assert len(found.front) == 0


@pytest.mark.parametrize(
    ("evaluate", "told"),
    [
        (lambda arch: {"accuracy": float("nan")}, "accuracy is nan"),
        (lambda arch: {"accuracy": float("inf")}, "accuracy is inf"),
        (lambda arch: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_an_evaluator_that_always_fails_ends_the_search_with_its_reason(evaluate, told, tmp_path):
    with pytest.raises(ValueError, match=f"first 10 evaluations all failed.*{told}"):
        run(evaluate=evaluate, log=tmp_path / "log.jsonl")
    assert len(list(read_lines(tmp_path / "log.jsonl"))) == 10


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"budget": 5, "searcher": "nsga2"}, "budget of 5 is under the population of 'nsga2', 24"),
        (
            {"budget": 30, "searcher": ("nsga2", {"population": 31})},
            "budget of 30 is under the population of 'nsga2-population=31', 31",
        ),
        ({"searcher": ("nsga2", {"populaton": 30})}, "Did you mean 'population'"),
        ({"searcher": lambda problem, seed: problem}, "makes a Problem, which is no searcher; subclass"),
        ({"objectives": {"accuracy": "maximum"}}, "unknown direction 'maximum'.*Did you mean 'max'"),
        ({"objectives": {}}, "one to four objectives, got 0"),
        ({"constraints": {"energy_mj": 5}}, "a limit on 'energy_mj'.*Valid: latency_ms, accuracy"),
        ({"constraints": {"latency_ms": float("nan")}}, "finite number, got nan"),
        (
            {"constraints": {"latency_ms": 0.01}},
            "cheapest reachable network found has latency_ms 0.4.*would be met",
        ),
        ({"budget": 0}, "at least 1, got 0"),
        ({"budget": 2.5}, "got 2.5"),
        ({"searcher": "evolutoin"}, "Did you mean 'evolution'"),
        ({"evaluate": None}, "either evaluate= .* or pool="),
        ({"costs": lambda rows: {"latency_ms": np.ones(3)}}, "shape \\(3,\\) for 2 rows"),
        ({"searcher": "optuna_cmaes"}, "CMA-ES takes one objective"),
        ({"searcher": lambda problem, seed: Nsga2(problem, seed, population=1)}, "at least 2"),
        ({"searcher": "slimming", "costs": None, "constraints": {}}, "needs a cost"),
        (
            {"objectives": {"acuracy": "max"}},
            "objective 'acuracy' is no cost, and the evaluation does not give it.*Did you mean 'accuracy'",
        ),
        ({"reference": {"acuracy": 0.5}}, "the reference: unknown objective.*Did you mean 'accuracy'"),
        ({"reference": {"accuracy": 0.5}}, "reference needs a finite number for objective 'latency_ms'"),
    ],
)
def test_bad_input_is_told_in_words(changes, told):
    with pytest.raises(ValueError, match=told):
        run(**changes)


def test_the_diagnosis_names_a_limit_that_is_met():
    with pytest.raises(ValueError, match="would be met") as told:
        run(constraints={"latency_ms": 0.1})
    text = str(told.value)
    assert "bound by" in text
    limit = float(text.split("A limit of latency_ms ")[1].split()[0])
    assert len(run(constraints={"latency_ms": limit}).trials) > 0


def test_exhaustive_refuses_what_it_cannot_list():
    space = SearchSpace("big", [Choice(f"c{i}", (1, 2, 3, 4)) for i in range(12)], lambda arch: None)
    with pytest.raises(ValueError, match="exhaustive search lists at most"):
        run(space=space, costs=None, constraints={}, objectives={"accuracy": "max"}, searcher="exhaustive")


def test_a_space_of_one_network_is_searched():
    space = SearchSpace("one", [Choice("width", (8,))], lambda arch: None)
    for name in set(SEARCHERS) - {"optuna_cmaes", "optuna_gp"}:
        found = run(
            space=space,
            evaluate=lambda arch: {"accuracy": 0.5},
            costs=lambda rows: {"latency_ms": np.ones(len(rows))},
            searcher=name,
        )
        assert len(found.trials) == 1, name


def test_a_log_of_another_search_is_refused_and_says_what_differs(tmp_path):
    run(log=tmp_path / "log.jsonl")
    with pytest.raises(ValueError, match="seed was 1, now 2"):
        run(log=tmp_path / "log.jsonl", seed=2)
    with pytest.raises(ValueError, match="searcher was 'random', now 'nsga2'"):
        run(log=tmp_path / "log.jsonl", searcher="nsga2")
    with pytest.raises(ValueError, match="searcher was 'random', now 'nsga2-population=20'"):
        run(log=tmp_path / "log.jsonl", searcher=("nsga2", {"population": 20}))
    other = SearchSpace("other", [Choice("width", (8, 16))], lambda arch: None)
    with pytest.raises(ValueError, match="space was 'contract "):
        run(log=tmp_path / "log.jsonl", space=other, costs=lambda rows: {"latency_ms": np.ones(len(rows))})
    (tmp_path / "log.json").unlink()
    with pytest.raises(ValueError, match=r"log.json is not beside it"):
        run(log=tmp_path / "log.jsonl")


def test_a_finished_search_is_answered_from_its_log(tmp_path):
    first = run(log=tmp_path / "log.jsonl")

    def never(arch):
        raise AssertionError("evaluated again")

    again = run(log=tmp_path / "log.jsonl", evaluate=never)
    assert first.trials.equals(again.trials)


KILLED = """
import os, sys
from pathlib import Path
from nas.search import contract, search
import nas.search.engine as engine

done = 0
def evaluate(arch):
    global done
    done += 1
    if done == 9:
        os.kill(os.getpid(), 9)
    return contract.small_accuracy(arch)

search(contract.small_space(), evaluate, objectives=contract.OBJECTIVES, constraints=contract.LIMITS,
       costs=contract.small_costs, budget=25, searcher=sys.argv[1], seed=4, log=Path(sys.argv[2]))
"""


@pytest.mark.parametrize("name", ["guided", "nsga2"])
def test_killed_and_continued_it_ends_the_same(name, tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, name, str(tmp_path / "a.jsonl")], check=False)
    assert done.returncode == -9
    assert len(list(read_lines(tmp_path / "a.jsonl"))) == 8
    resumed = run(searcher=name, seed=4, budget=25, log=tmp_path / "a.jsonl")
    whole = run(searcher=name, seed=4, budget=25)
    names = list(small_space().names)
    assert resumed.trials[names].equals(whole.trials[names])
    assert resumed.archs == whole.archs


def test_a_line_cut_by_a_kill_is_evaluated_again(tmp_path):
    log = tmp_path / "log.jsonl"
    whole = run(log=log)
    text = log.read_text()
    log.write_text(text[: len(text) * 2 // 3])
    resumed = run(log=log)
    assert resumed.archs == whole.archs
    assert len(resumed.trials) == 20


class Interrupted(LastFirst):
    """Stops after some outcomes, with evaluations under way."""

    def __init__(self, evaluate, *, capacity, after):
        super().__init__(evaluate, capacity=capacity)
        self.after = after

    def next(self):
        if self.evaluated == self.after:
            raise KeyboardInterrupt
        return super().next()


@pytest.mark.parametrize("capacity", [4, 2])
def test_no_parallel_evaluation_is_lost_or_repeated(capacity, tmp_path):
    log = tmp_path / "log.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(
            evaluate=None,
            pool=Interrupted(small_accuracy, capacity=4, after=9),
            log=log,
            searcher="nsga2",
            budget=30,
        )
    pool = LastFirst(small_accuracy, capacity=capacity)
    found = run(evaluate=None, pool=pool, log=log, searcher="nsga2", budget=30)
    assert pool.evaluated == 30 - 9
    assert sorted(found.trials["trial"]) == list(range(30))
    assert not found.trials.duplicated(list(small_space().names)).any()


def test_a_careless_searcher_is_kept_to_the_limits():
    class Careless(Searcher):
        """Proposes the largest network again and again."""

        def __init__(self, problem, _seed):
            self.space = problem.space

        def ask(self, _n):
            return self.space.to_row(self.space.largest())[None]

        def tell(self, rows, scores):
            pass

    found = run(searcher=Careless, budget=12)
    assert len(found.trials) == 12
    assert (found.trials["latency_ms"] <= LIMITS["latency_ms"]).all()


def test_names_are_taken_once():
    with pytest.raises(ValueError, match="already"):
        SEARCHERS.add("random", lambda problem, seed: RandomSearch(problem, seed))
    SEARCHERS.add("random", RandomSearch)


def test_the_serial_pool_is_a_pool():
    pool = SerialPool(lambda arch: {"accuracy": 1})
    assert isinstance(pool, Pool)
    pool.submit(7, {})
    assert pool.next() == Outcome(
        ticket=7, scores={"accuracy": 1.0}, worker="here", seconds=pytest.approx(0, abs=1)
    )


def test_how_good_the_predictor_was_is_in_the_result():
    found = run(searcher="guided", budget=40)
    assert [report.archs for report in found.rounds] == sorted({report.archs for report in found.rounds})
    assert found.rounds[-1].tau > 0.5
    assert found.rounds[-1].mean_error < 0.05
    assert run().rounds == ()


def test_more_than_two_objectives():
    def costs(rows):
        return small_costs(rows) | {"params": 10.0 + rows.sum(axis=1), "macs": 5.0 + rows[:, 0]}

    goals = {"accuracy": "max", "latency_ms": "min", "params": "min", "macs": "min"}
    for name in ("guided", "nsga2", "linas", "local"):
        found = run(objectives=goals, costs=costs, searcher=name, budget=30)
        assert len(found.front) > 1
        assert found.hypervolume[-1] > 0


def test_importing_the_search_is_light():
    heavy = "'torch', 'ray', 'optuna', 'nni', 'pandas', 'scipy', 'sklearn'"
    code = f"import sys, nas.search; print([name for name in ({heavy}) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_contract_checks_can_fail(tmp_path):
    count = iter(range(100))

    class Forgetful(RandomSearch):
        """Does not keep to its seed."""

        def __init__(self, problem, _seed):
            super().__init__(problem, next(count))

    with pytest.raises(AssertionError, match="one seed gave two"):
        contract.repeats_itself(Forgetful, tmp_path)


def test_random_search_draws_one_sequence_whatever_the_limit():
    big = SearchSpace("big", [Choice(f"c{i}", tuple(range(1, 9))) for i in range(8)], lambda arch: None)

    def size(rows):
        return {"size": rows.sum(axis=1).astype(float)}

    for space, costs, limits in (
        (small_space(), small_costs, ({"latency_ms": 3.0}, {"latency_ms": 6.0}, {})),
        (big, size, ({"size": 25.0}, {"size": 30.0}, {})),
    ):
        drawn = []
        for limit in limits:
            searcher = RandomSearch(Problem(space, {"accuracy": "max"}, limit, costs), 5)
            drawn.append([searcher.ask(1)[0].tolist() for _ in range(100)])
        tight, loose, free = drawn
        within = Problem(space, {"accuracy": "max"}, limits[0], costs)
        again = [row for row in loose if within.admits(np.array([row]))[0]]
        assert 10 < len(again) < 100
        assert tight[: len(again)] == again
        assert [row for row in free if row in loose] == loose[: sum(row in loose for row in free)]
