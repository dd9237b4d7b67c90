"""The largest network is the one with the most multiply-accumulates, or the one that was declared."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nas.costs.counts.analytic import AnalyticCosts
from search_spaces.choice import Choice, Value
from search_spaces.layer import Layer, Slot
from search_spaces.reference import extremes
from search_spaces.space import SearchSpace
from search_spaces.spaces.presets import METAFORMERS, preset
from tests.search_spaces.test_space import spaces
from tests.spaces import SPACES


def layered(space: SearchSpace, scopes: list[list[int]], seed: int) -> SearchSpace:
    """The same choices with slots that depend on some of them and whose layers do random amounts of work."""

    def slot(index: int, scope: list[int]) -> Slot:
        names = tuple(space.names[column] for column in scope)

        def layer(arch: dict[str, int]) -> Layer | None:
            if (sum(arch.values()) + index) % 5 == 4:
                return None
            sizes = tuple(sorted((name.replace(".", "_"), value) for name, value in arch.items()))
            return Layer(
                name=f"l{index}",
                kind=f"k{index}",
                sizes=sizes,
                input_shape=(1,),
                output_shape=(1,),
                make=nn.Identity,
            )

        return Slot(name=f"slot{index}", choices=names, layer=layer)  # type: ignore[arg-type]

    slots = [slot(index, scope) for index, scope in enumerate(scopes)]
    made = SearchSpace("layered", space.choices, slots=slots)
    made.__dict__["layer_macs"] = np.random.default_rng(seed).integers(0, 6, len(made.layers)).astype(float)
    return made


@settings(max_examples=150, deadline=None)
@given(spaces(), st.data(), st.integers(0, 2**32 - 1))
def test_the_ends_are_those_of_an_enumeration(drawn: SearchSpace, data: st.DataObject, seed: int) -> None:
    """Exact with conditional choices and any slots; the latest, or earliest, of the equal ones."""
    columns = range(len(drawn.choices))
    scope = st.lists(st.sampled_from(columns), min_size=1, max_size=3, unique=True)
    space = layered(drawn, data.draw(st.lists(scope, min_size=1, max_size=5)), seed)
    every = space.enumerate()
    macs = space.sum_over_layers(every, space.layer_macs)
    (low, high), (least, most) = space.ends, (macs.min(), macs.max())
    assert list(space.sum_over_layers(space.ends, space.layer_macs)) == [least, most]
    first, last = np.zeros_like(low), space.canonical((space.n_values - 1)[None])[0]
    if space.sum_over_layers(first[None], space.layer_macs)[0] == least:
        assert (low == first).all()
    if space.sum_over_layers(last[None], space.layer_macs)[0] == most:
        assert (high == last).all()


SEVERAL = ("identity", "pooling", "attention", "depthwise", "cswin")


@pytest.mark.parametrize("name", METAFORMERS)
@pytest.mark.parametrize("mixers", [(), SEVERAL, tuple(reversed(SEVERAL))], ids=["", "more", "reversed"])
def test_no_network_of_a_preset_is_bigger_than_the_largest(name: str, mixers: tuple[str, ...]) -> None:
    side = 64 if name == "mobile" else 32
    assert_ends(preset(name, classes=10, input_shape=(3, side, side), mixers=mixers))


@pytest.mark.parametrize("blocks", [(), ("grouped", "identity", "residual")], ids=["", "others"])
def test_no_network_of_convolutional_stages_is_bigger_than_the_largest(blocks: tuple[str, ...]) -> None:
    assert_ends(preset("fast-8", classes=10, input_shape=(3, 8, 8), blocks=blocks))


def assert_ends(space: SearchSpace) -> None:
    macs = AnalyticCosts(space).macs
    low, high = macs(space.ends)
    drawn = space.sample(20_000, np.random.default_rng(0))
    deep = drawn.copy()  # sampled archs are mostly of the middle
    sizes = ~space.categorical
    deep[:, sizes] = (space.n_values - 1)[sizes]
    for rows in (
        drawn,
        space.canonical(deep),
        space.neighbours(space.ends[1]),
        space.neighbours(space.ends[0]),
    ):
        assert macs(rows).max() <= high
        assert macs(rows).min() >= low


def test_the_order_of_mixers_means_nothing_for_the_largest() -> None:
    for mixers in itertools.permutations(["identity", "depthwise", "attention"]):
        space = preset("cifar-small", classes=10, input_shape=(3, 32, 32), mixers=mixers)
        largest, smallest = space.largest(), space.smallest()
        chosen = [name for name in space.names if name.endswith("mixer")]
        assert {largest[name] for name in chosen} == {"attention"}
        assert smallest["stage0.block0.mixer"] == "identity"


def test_with_depthwise_last_the_largest_has_the_last_of_everything() -> None:
    space = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=["identity", "pooling", "depthwise"])
    assert (space.ends[1] == space.canonical((space.n_values - 1)[None])[0]).all()
    assert (space.ends[0] == 0).all()


def test_a_declared_reference_is_the_largest_and_looked_at_by_the_supernet() -> None:
    declared = {"width": 16, "heads": 2, "ratio": 1, "depth": 2}
    vit = SPACES["vit"]()
    space = SearchSpace("vit", vit.choices, vit.build, input_shape=(3, 16, 16), reference=declared)
    assert space.largest() == declared
    assert (space.ends == vit.ends).all()  # larger networks are trained and searched all the same
    assert declared in space.probes
    assert space.fingerprint == vit.fingerprint
    with pytest.raises(ValueError, match="'width' takes .* not 17"):
        SearchSpace("vit", vit.choices, vit.build, reference={**declared, "width": 17})


class Either(nn.Module):
    """One of three middles, the dearest of which is named first."""

    def __init__(self, middle: str, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 1)
        size = {"dear": 5, "cheap": 1, "mid": 3}[middle]
        self.middle = nn.Conv2d(width, width, size, padding=size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.middle(self.stem(x)).mean(dim=(2, 3))


class Sum(nn.Module):
    """The sum of what its parts give."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return sum((part(x) for part in self.parts), torch.zeros(()))


def test_categories_of_a_space_that_only_builds_are_counted() -> None:
    choices = [Choice("middle", ("dear", "cheap", "mid")), Choice("width", (4, 8))]
    space = SearchSpace("either", choices, lambda arch: Either(str(arch["middle"]), int(arch["width"])))
    assert space.largest() == {"middle": "dear", "width": 8}
    assert space.smallest() == {"middle": "cheap", "width": 4}


def test_a_sweep_builds_each_value_of_a_category_once() -> None:
    """The values of one that is inactive, whose networks are all the same, not at all."""
    built = []

    def build(arch: Mapping[str, Value]) -> nn.Module:
        built.append(dict(arch))
        parts = [Either(str(arch[name]), 4) for name in ("first", "second")]
        if arch["more"] == "yes":
            parts.append(Either(str(arch["third"]), 4))
        return Sum(parts)

    middles = ("mid", "dear", "cheap")
    choices = [Choice(name, middles) for name in ("first", "second")]
    choices += [Choice("more", ("yes", "no")), Choice("third", middles, "more", ("yes",))]
    space = SearchSpace("three", choices, build)
    assert space.largest() == {"first": "dear", "second": "dear", "more": "yes", "third": "dear"}
    assert len(built) == 1 + 2 + 2 + 1 + 2  # one end alone
    assert space.smallest() == {"first": "cheap", "second": "cheap", "more": "no", "third": "mid"}
    assert len(built) == 8 + 1 + 2 + 2 + 1
    before = len(built)
    assert space.only(space.largest()).largest()["first"] == "dear"
    SearchSpace("declared", choices, build, reference=space.smallest()).largest()
    assert len(built) == before


def test_a_sweep_stops_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Categories beyond keep their values."""
    monkeypatch.setattr(extremes, "MOST_COUNTED", 3)
    found = extremes.sweep(
        np.zeros(3, dtype=np.int64), {0: 2, 1: 2, 2: 2}, lambda rows: rows, lambda row: float(row.sum())
    )
    assert list(found) == [1, 1, 0]


def test_where_nothing_can_be_counted_the_last_values_stand() -> None:
    def build(arch: object) -> nn.Module:
        raise RuntimeError("no network")

    space = SearchSpace("table", [Choice("op", ("a", "b", "c")), Choice("n", (1, 2))], build)
    assert space.largest() == {"op": "c", "n": 2}
    assert space.smallest() == {"op": "a", "n": 1}


def test_a_space_too_entangled_for_tables_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = preset("cifar-small", classes=10, input_shape=(3, 32, 32)).ends
    monkeypatch.setattr(extremes, "LARGEST_TABLE", 1)
    assert (preset("cifar-small", classes=10, input_shape=(3, 32, 32)).ends == exact).all()


def test_the_global_random_state_is_left_alone() -> None:
    space = preset("cifar-small", classes=10, input_shape=(3, 32, 32))
    before = torch.get_rng_state()
    space.largest()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_space_is_made_without_torch() -> None:
    code = (
        "import sys; from search_spaces.choice import Choice; from search_spaces.space import SearchSpace; "
        "SearchSpace('s', [Choice('a', (1, 2))], lambda arch: None).largest(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
