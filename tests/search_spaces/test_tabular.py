"""Tables as spaces: what goes in is looked up, and what the table lacks is not in the space."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nas.search import search
from search_spaces.tabular import TabularSpace

TABLE = Path(__file__).parent / "cells.csv"
EDGES = ["edge01", "edge02", "edge12"]


@pytest.fixture(scope="module")
def frame():
    return pd.read_csv(TABLE)


@pytest.fixture(scope="module")
def space(frame):
    return TabularSpace.from_table(frame, choices=EDGES, objectives=["accuracy", "latency_ms"])


def test_every_row_is_found_again(frame, space):
    evaluate, costs = space.evaluator("accuracy"), space.costs("latency_ms")
    assert space.size == len(frame) == len(space.enumerate())
    assert (space.position(space.enumerate()) == np.arange(len(frame))).all()
    for _, line in frame.iterrows():
        arch = {edge: line[edge] for edge in EDGES}
        assert evaluate(arch) == {"accuracy": line["accuracy"]}
        assert costs(space.to_row(arch)[None])["latency_ms"] == line["latency_ms"]


def test_combinations_the_table_lacks_are_not_in_the_space(frame):
    some = frame.iloc[::3]
    space = TabularSpace.from_table(some, choices=EDGES, objectives=["accuracy", "latency_ms"])
    every = np.stack(np.meshgrid(*[np.arange(n) for n in space.n_values], indexing="ij"), -1).reshape(-1, 3)
    assert space.valid(every).sum() == space.size == len(some)
    assert not space.valid(np.array([[0, 0, 99], [-1, 0, 0]])).any()
    assert space.valid(space.sample(50, np.random.default_rng(0))).all()
    missing = every[~space.valid(every)][0]
    assert np.isnan(space.costs("latency_ms")(missing[None])["latency_ms"][0])
    with pytest.raises(ValueError, match="the table has no row for"):
        space.evaluator("accuracy")(space.to_arch(missing))


@pytest.mark.parametrize("searcher", ["exhaustive", "nsga2", "guided", "slimming", "nested"])
def test_a_table_with_holes_is_searched(frame, searcher):
    space = TabularSpace.from_table(frame.iloc[::2], choices=EDGES, objectives=["accuracy", "latency_ms"])
    limit = float(np.median(space.scores["latency_ms"]))
    found = search(
        space,
        space.evaluator("accuracy"),
        objectives={"accuracy": "max"},
        constraints={"latency_ms": limit},
        costs=space.costs("latency_ms"),
        searcher=searcher,
        budget=100,
    )
    assert (found.trials["status"] == "ok").all()
    if searcher == "exhaustive":
        within = space.scores["latency_ms"] <= limit
        assert found.front["accuracy"].iloc[0] == space.scores["accuracy"][within].max()
        assert len(found.trials) == within.sum()


def test_numbers_are_ordered_and_words_are_categories():
    frame = pd.DataFrame({"width": [32, 8, 16], "op": ["b", "a", "c"], "score": [1, 2, 3]})
    space = TabularSpace.from_table(frame, choices=["width", "op"], objectives=["score"])
    assert space.choices[0].values == (8, 16, 32)
    assert space.choices[1].values == ("b", "a", "c")
    assert space.categorical.tolist() == [False, True]
    with pytest.raises(ValueError, match="no networks to build"):
        space.build({"width": 8, "op": "a"})


@pytest.mark.parametrize(
    ("columns", "choices", "objectives", "told"),
    [
        ({"a": [1, 2], "s": [1, 2]}, ["b"], ["s"], "unknown column 'b'.*Valid: a, s"),
        ({"a": [1, 1], "s": [1, 2]}, ["a"], ["s"], "rows 0 and 1 of the table are the same arch"),
        ({"a": [1, None], "s": [1, 2]}, ["a"], ["s"], "column 'a' has nothing in row 1"),
        ({"a": [1, 2], "s": [1, None]}, ["a"], ["s"], "column 's' has no number in row 1"),
        ({"a": [1, 2], "s": ["x", "y"]}, ["a"], ["s"], "column 's' is an objective but not all numbers"),
        ({"a": [], "s": []}, ["a"], ["s"], "needs rows"),
        ({"a": [1, 2], "s": [1, 2]}, ["a"], [], "columns of objectives"),
        ({"a": [1, 2], "s": [1, 2]}, ["a", "s"], ["s"], "'s' is given as a choice and as an objective"),
        ({"a": pd.array([1, None], "Int64"), "s": [1, 2]}, ["a"], ["s"], "column 'a' has nothing in row 1"),
    ],
)
def test_bad_tables_are_told_in_words(columns, choices, objectives, told):
    with pytest.raises(ValueError, match=told):
        TabularSpace.from_table(pd.DataFrame(columns), choices=choices, objectives=objectives)


def test_two_columns_of_one_name_are_told():
    frame = pd.DataFrame([[1, 2, 0.5]], columns=["a", "a", "s"])
    with pytest.raises(ValueError, match="several columns named 'a'"):
        TabularSpace.from_table(frame, choices=["a"], objectives=["s"])


def test_a_table_of_many_choices_finds_its_rows():
    """45 choices of four values: the full grid has 2 ** 90 places, more than an integer holds."""
    codes = np.unique(np.random.default_rng(0).integers(0, 4, (2000, 45)), axis=0)
    frame = pd.DataFrame(codes, columns=[f"c{i}" for i in range(45)]).assign(score=np.arange(len(codes)))
    space = TabularSpace.from_table(frame, choices=list(frame.columns[:-1]), objectives=["score"])
    assert (space.position(space.enumerate()) == np.arange(len(codes))).all()
    changed = (codes + 1) % 4
    assert not space.valid(changed).any()


def test_unknown_columns_of_scores_are_told(space):
    with pytest.raises(ValueError, match="unknown column of scores 'latency'.*Did you mean 'latency_ms'"):
        space.costs("latency")


def test_the_table_is_the_generated_one(frame):
    from tests.benchmarks.search_problems import cells

    made = cells(0, edges=3)
    assert np.allclose(made.scores["accuracy"], frame["accuracy"], atol=1e-6)
    assert np.allclose(made.scores["latency_ms"], frame["latency_ms"], atol=1e-6)
