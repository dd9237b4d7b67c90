"""Contracts of search spaces: every operation stays inside, canonical forms are unique, sizes are exact."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.choice import Choice
from search_spaces.space import SearchSpace
from search_spaces.spaces.metaformer import Stage
from search_spaces.spaces.presets import preset
from tests.spaces import SPACES


def build_nothing(arch: object) -> object:
    return None


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Small spaces with chains of conditional choices."""
    choices: list[Choice] = []
    for index in range(draw(st.integers(1, 5))):
        values = tuple(range(draw(st.integers(1, 4))))
        parent, allowed = "", ()
        if choices and draw(st.booleans()):
            chosen = draw(st.sampled_from(choices))
            parent = chosen.name
            allowed = tuple(draw(st.sets(st.sampled_from(chosen.values), min_size=1)))
        choices.append(Choice(f"c{index}", values, parent, allowed))
    return SearchSpace("drawn", choices, build_nothing)  # type: ignore[arg-type]


def is_canonical(space: SearchSpace, rows: np.ndarray) -> bool:
    return bool(space.valid(rows).all()) and bool((space.canonical(rows) == rows).all())


@given(spaces(), st.integers(0, 2**32 - 1))
def test_operations_stay_inside_the_space(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = space.sample(20, rng), space.sample(20, rng)
    assert is_canonical(space, first)
    assert is_canonical(space, space.crossover(first, second, rng))
    assert is_canonical(space, space.mutate(first, rng, rate=0.3))
    for row in first[:3]:
        near = space.neighbours(row)
        assert is_canonical(space, near)
        assert len(np.unique(near, axis=0)) == len(near)
        assert not (near == row).all(axis=1).any()


@given(spaces(), st.integers(0, 2**32 - 1))
def test_a_mutation_changes_something_where_something_can_change(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = space.sample(30, rng)
    moved = (space.mutate(rows, rng, rate=0.0) != rows).any(axis=1)
    movable = (space.active(rows) & (space.n_values > 1)).any(axis=1)
    assert (moved == movable).all()


@given(spaces())
def test_size_equals_enumeration(space: SearchSpace) -> None:
    every = space.enumerate()
    grids = np.array(list(np.ndindex(*space.n_values.tolist())))
    assert len(every) == space.size == len(np.unique(space.canonical(grids), axis=0))
    assert is_canonical(space, every)


@given(spaces(), st.integers(0, 2**32 - 1))
def test_archs_round_trip_through_rows_and_json(space: SearchSpace, seed: int) -> None:
    for row in space.sample(5, np.random.default_rng(seed)):
        arch = json.loads(json.dumps(space.to_arch(row)))
        assert (space.to_row(arch) == row).all()
        active = dict(zip(space.names, space.active(row[None])[0], strict=True))
        assert (space.to_row({name: v for name, v in arch.items() if active[name]}) == row).all()


@given(spaces(), st.integers(0, 2**32 - 1))
def test_one_hot_tells_canonical_archs_apart(space: SearchSpace, seed: int) -> None:
    rows = np.unique(space.sample(30, np.random.default_rng(seed)), axis=0)
    features = space.one_hot(rows)
    assert len(np.unique(features, axis=0)) == len(rows)
    assert (features.sum(axis=1) == space.active(rows).sum(axis=1)).all()


def test_the_same_seed_samples_the_same() -> None:
    space = SPACES["cifar"]()
    first, again = (space.sample(50, np.random.default_rng(7)) for _ in range(2))
    assert (first == again).all()
    assert (first != space.sample(50, np.random.default_rng(8))).any()


def test_the_presets_hold_more_than_a_million_networks() -> None:
    assert SPACES["digits"]().size > 10**6
    assert SPACES["cifar"]().size > 10**12


@pytest.mark.parametrize("name", ["digits", "cifar", "fast"])
def test_lowering_and_layer_sums_agree(name: str) -> None:
    space = SPACES[name]()
    rows = space.sample(40, np.random.default_rng(0))
    price = np.random.default_rng(1).random(len(space.layers))
    by_key = {layer.key: value for layer, value in zip(space.layers, price, strict=True)}
    for row, total, ids in zip(rows, space.sum_over_layers(rows, price), space.layer_ids(rows), strict=True):
        layers = space.lower(space.to_arch(row))
        assert [space.layers[i].key for i in ids if i >= 0] == [layer.key for layer in layers]
        assert total == pytest.approx(sum(by_key[layer.key] for layer in layers))
        for before, after in itertools.pairwise(layers):
            assert before.output_shape == after.input_shape


def test_a_layer_that_cannot_run_makes_its_archs_infinite() -> None:
    space = SPACES["digits"]()
    price = np.zeros(len(space.layers))
    price[[layer.kind == "attention" for layer in space.layers]] = np.inf
    rows = space.sample(50, np.random.default_rng(0))
    has = [any(layer.kind == "attention" for layer in space.lower(space.to_arch(row))) for row in rows]
    assert (np.isinf(space.sum_over_layers(rows, price)) == has).all()


def test_bad_spaces_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="repeats a value"):
        Choice("a", (1, 1))
    with pytest.raises(ValueError, match="has no values"):
        Choice("a", ())
    with pytest.raises(
        ValueError, match=r"'a' has the values \(3, 1\) and the role 'kernel': they have to asc"
    ):
        Choice("a", (3, 1), role="kernel")
    assert Choice("a", (3, 1), role="category").values == (3, 1)
    with pytest.raises(ValueError, match="repeats choices: a"):
        SearchSpace("s", [Choice("a", (1,)), Choice("a", (2,))], build_nothing)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be a choice that comes before it"):
        SearchSpace("s", [Choice("a", (1,), "b", (1,)), Choice("b", (1,))], build_nothing)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="never takes 9"):
        SearchSpace("s", [Choice("a", (1,)), Choice("b", (1,), "a", (9,))], build_nothing)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="either build or slots"):
        SearchSpace("s", [Choice("a", (1,))])


def test_bad_archs_are_refused_in_words() -> None:
    space = SPACES["digits"]()
    arch = dict(space.largest())
    with pytest.raises(ValueError, match=r"unknown choice 'stage0.widht'. Did you mean 'stage0.width'"):
        space.to_row({**arch, "stage0.widht": 16})
    with pytest.raises(ValueError, match="'stage0.width' takes .* not 17"):
        space.to_row({**arch, "stage0.width": 17})
    del arch["stage1.width"]
    with pytest.raises(ValueError, match=r"says nothing of stage1.width"):
        space.to_row(arch)


def test_bad_presets_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="unknown space 'digit'. Did you mean 'digits'"):
        preset("digit", classes=10, input_shape=(1, 8, 8))
    with pytest.raises(ValueError, match="unknown mixer 'atention'. Did you mean 'attention'"):
        preset("digits", classes=10, input_shape=(1, 8, 8), mixers=["atention"])
    with pytest.raises(ValueError, match="unknown activation 'rel'"):
        preset("digits", classes=10, input_shape=(1, 8, 8), activation="rel")
    with pytest.raises(ValueError, match="nothing left at stage 1"):
        preset("cifar", classes=10, input_shape=(3, 2, 2))
    with pytest.raises(ValueError, match="multiples of 16, got \\[24\\]"):
        Stage(widths=(16, 24), depths=(1,))
    with pytest.raises(ValueError, match=r"depthwise.kernel = \(2,\): the size of a kernel has to be odd"):
        Stage(widths=(16,), depths=(1,), options={"depthwise": {"kernel": (2,)}})
