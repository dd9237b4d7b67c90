"""Rules over several choices: what they forbid is in no matrix of rows that a space gives."""

from __future__ import annotations

import itertools
import pickle
import re
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nas.search.exact import Bound, solve
from nas.supernet.supernet import Supernet
from search_spaces.choice import Choice, Value
from search_spaces.reference.extremes import Term
from search_spaces.rules import AnyRule, Ascending, Forbid, Rule, rule_of
from search_spaces.space import Arch, SearchSpace
from search_spaces.spaces.narrowed import narrowed, ruled
from tests.spaces import digits_space, fast_space

WIDTHS = (4, 6, 8)


def build(arch: Arch) -> nn.Module:
    widths = [int(arch[f"stage{at}.width"]) for at in range(3)]
    return nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise([2, *widths])))


def plain(*rules: AnyRule) -> SearchSpace:
    """Three widths, and a depth on which a mixer and its kernel depend."""
    return SearchSpace(
        "plain",
        [
            *(Choice(f"stage{at}.width", WIDTHS) for at in range(3)),
            Choice("depth", (1, 2), role="depth"),
            Choice("mixer", ("none", "attention", "conv"), parent="depth", parent_values=(2,)),
            Choice("kernel", (3, 5), role="kernel", parent="mixer", parent_values=("conv",)),
        ],
        build,
        input_shape=(2,),
        rules=rules,
    )


def archs(space: SearchSpace) -> list[dict[str, Value]]:
    """Every arch of the plain space by brute force, the inactive choices left out."""
    found = []
    for values in itertools.product(*(choice.values for choice in space.choices)):
        arch = dict(zip(space.names, values, strict=True))
        if arch["depth"] == 1:
            del arch["mixer"], arch["kernel"]
        elif arch["mixer"] != "conv":
            del arch["kernel"]
        found.append(arch)
    return [dict(items) for items in {tuple(arch.items()) for arch in found}]


def never_fall(arch: Mapping[str, Value]) -> bool:
    return arch["stage0.width"] <= arch["stage1.width"] <= arch["stage2.width"]  # type: ignore[operator]


def no_wide_attention(arch: Mapping[str, Value]) -> bool:
    return not (arch.get("mixer") == "attention" and arch["stage0.width"] > 4)  # type: ignore[operator]


def small_kernels(arch: Mapping[str, Value]) -> bool:
    return arch.get("kernel") != 5 or arch["stage2.width"] == 8


RULES: list[AnyRule] = [
    Ascending(choices=("stage*.width",)),
    Forbid(values={"mixer": "attention", "stage0.width": "> 4"}),
    Rule(
        choices=("kernel", "stage2.width"),
        allows=lambda kernel, width: kernel < 5 or width == 8,
        text="small",
    ),
]
KEPT = [never_fall, no_wide_attention, small_kernels]


def rows_of(space: SearchSpace, found: list[dict[str, Value]]) -> set[bytes]:
    return {space.to_row(arch).tobytes() for arch in found}


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_a_space_holds_the_archs_that_keep_its_rules_and_no_others(which: tuple[int, ...]) -> None:
    space = plain(*(RULES[at] for at in which))
    expected = [arch for arch in archs(plain()) if all(KEPT[at](arch) for at in which)]
    assert space.size == len(expected)
    listed = space.enumerate()
    assert {row.tobytes() for row in listed} == rows_of(space, expected)
    assert len(listed) == len(expected)
    assert space.valid(listed).all()
    whole = plain().enumerate()
    assert {row.tobytes() for row in whole[space.valid(whole)]} == rows_of(space, expected)


def test_samples_are_those_of_the_whole_space_that_keep_the_rules() -> None:
    space, rng = plain(*RULES), np.random.default_rng(0)
    found, counts = np.unique(space.sample(40_000, rng), axis=0, return_counts=True)
    whole = plain().sample(400_000, rng)
    expected, wanted = np.unique(whole[space.valid(whole)], axis=0, return_counts=True)
    assert np.array_equal(found, expected)
    share, wanted_share = counts / counts.sum(), wanted / wanted.sum()
    assert (np.abs(share - wanted_share) < 5 * np.sqrt(wanted_share / 40_000) + 1e-3).all()


def test_moves_keep_the_rules_and_reach_every_arch() -> None:
    space, rng = plain(*RULES), np.random.default_rng(0)
    whole = space.enumerate()
    reached = whole[:1]
    for _ in range(40):
        reached = np.unique(np.vstack([reached, space.mutate(reached, rng, rate=0.3)]), axis=0)
    assert np.array_equal(reached, np.unique(whole, axis=0))
    moved = space.mutate(whole, rng, rate=0.0)
    assert space.valid(moved).all()
    assert (moved != whole).any(axis=1).all()
    first, second = whole[rng.integers(len(whole), size=(2, 500))]
    assert space.valid(space.crossover(first, second, rng)).all()
    allowed = {row.tobytes() for row in whole}
    for row in whole[:20]:
        expected = [one for one in plain().neighbours(row) if one.tobytes() in allowed]
        assert np.array_equal(space.neighbours(row), np.array(expected).reshape(-1, whole.shape[1]))


def test_where_no_single_step_is_allowed_a_mutation_leaps() -> None:
    same = Rule(choices=("a", "b"), allows=lambda a, b: a == b, text="a = b")
    space = SearchSpace(
        "tied", [Choice("a", WIDTHS), Choice("b", WIDTHS)], lambda _: nn.Identity(), rules=[same]
    )
    row = space.to_row({"a": 4, "b": 4})[None]
    assert not len(space.neighbours(row[0]))
    rng = np.random.default_rng(0)
    found = {tuple(space.mutate(row, rng, rate=0.0)[0]) for _ in range(60)}
    assert {(1, 1), (2, 2)} <= found <= {(0, 0), (1, 1), (2, 2)}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_counting_drawing_and_the_nearest_are_exact_whatever_the_rules(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=4, max_size=5))
    choices = [Choice(f"c{at}", tuple(range(n))) for at, n in enumerate(sizes)]
    pairs = data.draw(st.sets(st.tuples(st.integers(0, 2), st.integers(3, len(sizes) - 1))))
    tables = {pair: data.draw(st.lists(st.booleans(), min_size=9, max_size=9)) for pair in sorted(pairs)}
    rules = [
        Rule(
            choices=(f"c{one}", f"c{two}"),
            allows=lambda a, b, table=tuple(table): table[3 * a + b],
            text=f"{one} {two}",
        )
        for (one, two), table in tables.items()
    ]
    expected = [
        row
        for row in itertools.product(*map(range, sizes))
        if all(table[3 * row[one] + row[two]] for (one, two), table in tables.items())
    ]
    if not expected:
        with pytest.raises(ValueError, match="the rules leave no network"):
            SearchSpace("any", choices, lambda _: nn.Identity(), rules=rules)
        return
    space = SearchSpace("any", choices, lambda _: nn.Identity(), rules=rules)
    assert space.size == len(expected)
    drawn = space.sample(300, np.random.default_rng(0))
    assert set(map(tuple, drawn.tolist())) <= set(expected)
    wanted = np.array([data.draw(st.integers(0, n - 1)) for n in sizes])
    near = space.nearest(wanted[None])[0]

    def distance(row: object) -> float:
        return float((np.abs(np.array(row) - wanted) / np.maximum(np.array(sizes) - 1, 1)).sum())

    assert tuple(near) in expected
    assert distance(near) == pytest.approx(min(map(distance, expected)))


def test_the_exact_solution_keeps_the_rules() -> None:
    space = plain(*RULES)
    rng = np.random.default_rng(0)
    losses = [Term(columns=(at,), values=rng.random(n)) for at, n in enumerate(space.n_values)]
    costs = [Term(columns=(at,), values=rng.random(n)) for at, n in enumerate(space.n_values)]

    def total(terms: list[Term], row: np.ndarray) -> float:
        return float(sum(one.values[row[one.columns[0]]] for one in terms))

    rows = space.enumerate()
    limit = float(np.median([total(costs, row) for row in rows]))
    good = sorted(total(losses, row) for row in rows if total(costs, row) <= limit)
    found = solve(space, losses, {"cost": Bound(terms=costs, limit=limit)}, k=3)
    assert [one.loss for one in found] == pytest.approx(good[:3])
    assert all(space.valid(one.row[None])[0] for one in found)


def test_the_ends_keep_the_rules() -> None:
    falling = Rule(
        choices=("stage0.width", "stage2.width"),
        allows=lambda a, c: a >= 2 * c,
        text="the last is half as wide",
    )
    space = plain(falling)
    assert (space.largest()["stage0.width"], space.largest()["stage2.width"]) == (8, 4)
    assert space.valid(space.ends).all()
    for given_space in (digits_space(), fast_space()):
        some = given_space.choices[0].name, given_space.choices[1].name
        kept = ruled(given_space, [Forbid(values={name: given_space.largest()[name] for name in some})])
        rows = kept.sample(2000, np.random.default_rng(0))
        macs = kept.sum_over_layers(np.vstack([kept.ends, rows]), kept.layer_macs)
        assert kept.valid(kept.ends).all()
        assert macs[0] == macs.min()
        assert macs[1] == macs.max()


def test_a_supernet_knows_every_weight_that_a_rule_leaves() -> None:
    space = plain(
        Rule(choices=("stage0.width", "stage1.width"), allows=lambda a, b: a + b <= 12, text="thin")
    )
    supernet = Supernet(space)
    for row in space.enumerate():
        supernet.subnet(space.to_arch(row))
    assert supernet.index["0.weight"].shape == (8, 2)
    assert supernet.index["2.weight"].shape == (8, 8)
    with pytest.raises(ValueError, match="the arch breaks a rule of the space: thin"):
        supernet.subnet({"stage0.width": 8, "stage1.width": 8, "stage2.width": 4, "depth": 1})


def test_rules_stay_with_a_space_that_is_narrowed_and_go_to_other_processes() -> None:
    space = plain(*RULES[:2])
    narrow = narrowed(space, {"stage1.width": (4, 6)})
    assert narrow.size == sum(
        never_fall(arch) and no_wide_attention(arch) and arch["stage1.width"] != 8 for arch in archs(plain())
    )
    assert (
        narrowed(space, {"depth": (1,)}).size == 10
    )  # what the mixer was forbidden decides nothing any more
    assert pickle.loads(pickle.dumps([rule.over(space.choices) for rule in RULES[:2]]))
    assert space.fingerprint != plain().fingerprint
    assert space.fingerprint != plain(RULES[0]).fingerprint
    only = space.only(space.largest())
    assert only.size == 1


def test_one_name_for_the_same_place_in_every_choice() -> None:
    choices = [
        Choice(f"stage{at}.{own}", values)
        for at in range(2)
        for own, values in (("width", (32, 64)), ("mixer", ("conv", "attention")))
    ]
    space = SearchSpace("stages", choices, lambda _: nn.Identity())
    bound = ruled(space, [Forbid(values={"stage{n}.mixer": "attention", "stage{n}.width": "> 32"})])
    assert bound.size == 9  # of four combinations in each stage one is gone
    loose = ruled(space, [Forbid(values={"stage*.mixer": "attention", "stage*.width": [64]})])
    assert loose.size == 4 + 4 - 1  # no attention at all, or nothing wide
    assert [rule.text for rule in bound.rules] == [
        f"forbid stage{at}.mixer = attention, stage{at}.width = > 32" for at in range(2)
    ]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"forbid": {"stage0.wdth": 4}}, "unknown choice 'stage0.wdth'. Did you mean 'stage0.width'"),
        ({"forbid": {"mixer": "atention"}}, "unknown value of 'mixer' 'atention'. Did you mean 'attention'"),
        ({"forbid": {"mixer": "> 3"}}, "which '> 3' cannot compare"),
        ({"forbid": {"stage0.width": "> 1"}}, "the rules leave no network: forbid stage0.width = > 1"),
        ({"forbid": {"depth": 1, "dep*": 2}}, "no choices go together that 'depth' and 'dep*' stand for"),
        ({"forbid": {"stage{n}.width": 4, "dept{n}": 1}}, "no choices go together that 'stage{n}.width' and"),
        ({"ascending": ["stage0.width"]}, "ascending needs two choices or more"),
        ({"ascending": ["depth", "mixer"]}, "choice 'mixer' takes ('none', 'attention', 'conv'), no numbers"),
        ({"forbids": {"mixer": "conv"}}, "unknown rule 'forbids'. Did you mean 'forbid'"),
        ({"forbid": {}}, "a rule is { forbid"),
        ({"forbid": {"mixer": "conv"}, "ascending": ["stage*.width"]}, "a rule is { forbid"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(rule: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        ruled(plain(), [rule_of(rule)])


def test_rules_that_leave_nothing_together_are_named_and_no_others() -> None:
    rules = [
        Ascending(choices=("stage0.width", "stage1.width")),
        Forbid(values={"depth": 1}),
        Forbid(values={"stage0.width": "< 8"}),
        Forbid(values={"stage1.width": 8}),
    ]
    with pytest.raises(ValueError, match="leave no network") as refused:
        plain(*rules)
    said = str(refused.value)
    assert "stage0.width <= stage1.width" in said
    assert "depth" not in said


def test_a_rule_over_too_many_combinations_is_refused() -> None:
    choices = [Choice(f"c{at}", tuple(range(10))) for at in range(6)]
    every = Rule(choices=tuple(one.name for one in choices), allows=lambda *_: True, text="all of them")
    with pytest.raises(ValueError, match="rule 'all of them' is over 1000000 combinations"):
        SearchSpace("many", choices, lambda _: nn.Identity(), rules=[every])


def test_rules_that_tie_too_many_choices_together_are_refused() -> None:
    choices = [Choice(f"c{at}", tuple(range(8))) for at in range(9)]
    pairs = itertools.combinations([one.name for one in choices], 2)
    rules = [Rule(choices=pair, allows=lambda a, b: a + b < 14, text=f"{pair}") for pair in pairs]
    with pytest.raises(ValueError, match="the rules tie too many choices together to be counted"):
        SearchSpace("tied", choices, lambda _: nn.Identity(), rules=rules)


def test_a_reference_that_breaks_a_rule_is_refused_or_falls() -> None:
    choices = [Choice("a", WIDTHS), Choice("b", WIDTHS)]
    rules = [Ascending(choices=("a", "b"))]
    with pytest.raises(ValueError, match="the arch breaks a rule of the space: a <= b"):
        SearchSpace("two", choices, lambda _: nn.Identity(), reference={"a": 8, "b": 4}, rules=rules)
    space = SearchSpace("two", choices, lambda _: nn.Identity(), reference={"a": 8, "b": 4})
    assert ruled(space, rules).largest() == {"a": 8, "b": 8}
    kept = SearchSpace("two", choices, lambda _: nn.Identity(), reference={"a": 4, "b": 6})
    assert ruled(kept, rules).largest() == {"a": 4, "b": 6}
