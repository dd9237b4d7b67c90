"""Who starts a race: one of each family, then more of those that do best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from results.records import Scouted
from runners.stages.starters import families, family, firsts, in_turn, more
from search_spaces.spaces.presets import preset

BLOCKS = ["plain"] * 8 + ["residual"] * 3 + ["depthwise"]


def candidates(n: int) -> list[Scouted]:
    """n networks, those with more multiply-accumulates first."""
    common: dict[str, Any] = {
        "precision": "int8",
        "latency_ms": 1.0,
        "low_ms": 1.0,
        "high_ms": 1.0,
        "params": 1,
    }
    return [Scouted(arch={"width": place}, macs=n - place, **common) for place in range(n)]


def of_blocks(blocks: Sequence[str]) -> list[Scouted]:
    """A network mostly of each of these blocks, the largest first."""
    return [
        replace(one, arch={"stage0.block": block, "stage1.block": block, "gate": "none", **one.arch})
        for one, block in zip(candidates(len(blocks)), blocks, strict=True)
    ]


@given(
    st.lists(st.sampled_from(["plain", "residual", "depthwise"]), min_size=1, max_size=30), st.integers(1, 40)
)
def test_as_many_start_as_are_wanted_and_there_are_each_once(blocks: list[str], wanted: int) -> None:
    known = of_blocks(blocks)
    first = firsts(known)[: -(-wanted // 2)]
    waiting = [one for one in known if one not in first]
    found = [*first, *more(waiting, first, wanted - len(first))]
    assert len({one.macs for one in found}) == len(found) == min(len(known), wanted)


def test_every_family_has_a_starter_the_likeliest_first() -> None:
    assert [family(one.arch) for one in firsts(of_blocks(BLOCKS))] == ["plain", "residual", "depthwise"]
    assert [one.arch for one in firsts(candidates(3))] == [{"width": 0}]


def test_the_family_that_did_best_has_more_and_then_the_next() -> None:
    known = of_blocks(BLOCKS)
    first = firsts(known)
    standing = [first[0], first[2], first[1]]
    fresh = more([one for one in known if one not in first], standing, 6)
    assert [family(one.arch) for one in fresh] == [*["plain"] * 3, *["residual"] * 2, "plain"]
    sizes = [one.macs for one in fresh[:3]]
    assert sizes[:2] == [one.macs for one in known[1:3]]  # the next by size
    assert sizes[2] < sizes[1] - 1  # and one from further down


def test_things_of_several_kinds_take_turns() -> None:
    assert in_turn([1, 2, 3, 4, 5], ["a", "a", "b", "a", "b"]) == [1, 3, 2, 5, 4]


def test_families_of_rows_are_those_of_their_archs() -> None:
    space = preset("fast-8", classes=10, input_shape=(1, 8, 8))
    rows = space.sample(200, np.random.default_rng(0))
    kinds = families(space, rows)
    words = [family(space.to_arch(row)) for row in rows]
    pairs = set(zip(kinds.tolist(), words, strict=True))
    assert len(pairs) == len(set(words)) == len(set(kinds.tolist())) > 2
    assert dict(pairs).get(-1) is None


def test_a_network_of_no_kind_mostly_takes_the_place_of_none() -> None:
    mixed = {"stage0.block": "plain", "stage1.block": "depthwise", "stage2.block": "residual", "width": 8}
    assert family(mixed) is None
    assert family({**mixed, "stage1.block": "plain"}) == "plain"
    assert family({"width": 8}) is None
