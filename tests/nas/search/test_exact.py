"""The exact solution is what trying every arch finds, with shared choices, dependent ones and gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.search.exact import Bound, Solution, solve
from search_spaces.choice import Choice
from search_spaces.reference.extremes import Term
from search_spaces.space import SearchSpace
from tests.spaces import digits_space


def random_space(rng: np.random.Generator) -> SearchSpace:
    """Three to six choices, some of which depend on an earlier one."""
    choices: list[Choice] = []
    for index in range(rng.integers(3, 7)):
        values = tuple(range(int(rng.integers(1, 4))))
        if choices and rng.random() < 0.4:
            parent = choices[rng.integers(len(choices))]
            some = tuple(value for value in parent.values if rng.random() < 0.6) or parent.values[:1]
            choices.append(Choice(f"c{index}", values, parent.name, some))
        else:
            choices.append(Choice(f"c{index}", values))
    return SearchSpace("random", choices, lambda arch: None)  # type: ignore[arg-type, return-value]


def random_terms(space: SearchSpace, rng: np.random.Generator, gaps: float) -> list[Term]:
    """Tables over one to three choices in any order; some entries cannot be."""
    terms = []
    for _ in range(rng.integers(1, 6)):
        columns = tuple(rng.permutation(len(space.choices))[: rng.integers(1, 4)].tolist())
        values = rng.normal(size=[space.n_values[column] for column in columns])
        values[rng.random(values.shape) < gaps] = rng.choice([np.inf, np.nan])
        terms.append(Term(columns=columns, values=values))
    return terms


def total(terms: list[Term], row: np.ndarray) -> float:
    return math.fsum(one.values[tuple(row[column] for column in one.columns)] for one in terms)


def brute(space: SearchSpace, losses: list[Term], bounds: dict[str, Bound], k: int) -> list[float]:
    """The k least losses under the bounds, by trying all."""
    good = []
    for row in space.enumerate():
        costs = [total(list(bound.terms), row) for bound in bounds.values()]
        within = all(cost <= bound.limit for cost, bound in zip(costs, bounds.values(), strict=True))
        if within and math.isfinite(total(losses, row)):
            good.append(total(losses, row))
    return sorted(good)[:k]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_it_finds_what_trying_every_arch_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = random_space(rng)
    losses = random_terms(space, rng, gaps=0.1)
    bounds = {}
    for name in ("latency_ms", "size_bytes")[: rng.integers(0, 3)]:
        terms = random_terms(space, rng, gaps=0.05)
        values = [value for row in space.enumerate() if math.isfinite(value := total(terms, row))]
        bounds[name] = Bound(terms=terms, limit=float(np.quantile(values or [0.0], rng.random())))
    k = int(rng.integers(1, 6))
    expected = brute(space, losses, bounds, k)
    if not expected:
        with pytest.raises(ValueError, match="no arch of space 'random' meets"):
            solve(space, losses, bounds, k=k)
        return
    found = solve(space, losses, bounds, k=k)
    assert [one.loss for one in found] == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert len({one.row.tobytes() for one in found}) == len(found)
    for one in found:
        assert (space.canonical(one.row[None])[0] == one.row).all()
        assert one.loss == pytest.approx(total(losses, one.row))
        for name, bound in bounds.items():
            assert bound.admits(one.costs[name])


def layered() -> tuple[SearchSpace, np.ndarray, np.ndarray]:
    """A space of slots with a loss and a latency for each of its layers."""
    space = digits_space()
    rng = np.random.default_rng(0)
    latency_ms = space.layer_macs / 1e6 + 0.002 * rng.random(len(space.layers))
    return space, -np.sqrt(space.layer_macs) * rng.uniform(0.8, 1.2, len(space.layers)), latency_ms


def bounded(limit_ms: float, k: int = 1) -> list[Solution]:
    space, losses, latency_ms = layered()
    bounds = {"latency_ms": Bound(terms=space.terms(latency_ms), limit=limit_ms)}
    return solve(space, space.terms(losses), bounds, k=k)


def test_layers_of_a_space_of_slots_add_up_to_the_sums_of_the_space() -> None:
    space, losses, latency_ms = layered()
    found = bounded(0.9, k=3)
    rows = np.stack([one.row for one in found])
    np.testing.assert_allclose([one.loss for one in found], space.sum_over_layers(rows, losses))
    costs = [one.costs["latency_ms"] for one in found]
    np.testing.assert_allclose(costs, space.sum_over_layers(rows, latency_ms))
    assert max(costs) <= 0.9
    assert found[0].loss <= found[1].loss <= found[2].loss


def test_nothing_random_or_near_is_better_than_the_best_of_a_large_space() -> None:
    space, losses, latency_ms = layered()
    best = bounded(0.9)[0]
    rows = space.sample(200_000, np.random.default_rng(1))
    rows = np.concatenate([rows, space.neighbours(best.row)])
    rows = rows[space.sum_over_layers(rows, latency_ms) <= 0.9]
    assert len(rows) > 1000
    assert space.sum_over_layers(rows, losses).min() >= best.loss - 1e-6


def test_a_limit_that_nothing_meets_is_told_with_the_least_there_is() -> None:
    space, _, latency_ms = layered()
    least = space.sum_over_layers(np.stack([space.to_row(space.smallest())]), latency_ms)[0]
    with pytest.raises(ValueError, match=r"meets latency_ms <= 0.001 \(the least there is") as error:
        bounded(0.001)
    told = float(str(error.value).rpartition(" is ")[2].rstrip(")"))
    assert told <= least * 1.001


def test_an_arch_meets_the_limit_that_is_its_own_cost_and_none_is_a_limit() -> None:
    space, losses, latency_ms = layered()
    own = float(space.sum_over_layers(bounded(0.9)[0].row[None], latency_ms)[0])
    assert bounded(own)[0].costs["latency_ms"] == pytest.approx(own)
    unlimited = bounded(math.inf)[0]
    assert unlimited.loss == pytest.approx(solve(space, space.terms(losses), {})[0].loss)
    with pytest.raises(ValueError, match="a limit has to be a number, got nan"):
        bounded(math.nan)


def test_no_archs_are_refused() -> None:
    with pytest.raises(ValueError, match="ask for 1 or more"):
        bounded(0.9, k=0)
