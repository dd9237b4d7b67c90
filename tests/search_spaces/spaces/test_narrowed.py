"""A narrowed space holds some of the archs of the whole one: the same networks under the same names."""

from __future__ import annotations

import numpy as np
import pytest

from search_spaces.choice import Choice
from search_spaces.space import SearchSpace
from search_spaces.spaces.narrowed import lifting, narrowed
from search_spaces.spaces.presets import preset

WHOLE = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("identity", "depthwise", "pooling"))


def one_less(space: SearchSpace, seed: int) -> dict[str, tuple[object, ...]]:
    """A value less for some choices, sometimes the first."""
    rng = np.random.default_rng(seed)
    chosen = [one for one in space.choices if len(one.values) > 1 and rng.random() < 0.5]
    return {
        one.name: tuple(np.delete(np.array(one.values, dtype=object), rng.integers(len(one.values))))
        for one in chosen
    }


@pytest.mark.parametrize("seed", range(4))
def test_archs_keep_their_networks_and_names(seed: int) -> None:
    kept = one_less(WHOLE, seed)
    space = narrowed(WHOLE, kept)
    rows = space.sample(200, np.random.default_rng(seed))
    lifted = lifting(space, WHOLE)(rows)
    assert (WHOLE.canonical(lifted) == lifted).all()
    for row, other in zip(rows, lifted, strict=True):
        arch, same = space.to_arch(row), WHOLE.to_arch(other)
        assert [layer.key for layer in space.lower(arch)] == [layer.key for layer in WHOLE.lower(same)]
        active = WHOLE.active(other[None])[0]
        assert all(same[name] in kept.get(name, (same[name],)) for name in np.array(WHOLE.names)[active])
    assert len(np.unique(lifted, axis=0)) == len(np.unique(rows, axis=0)), "no two archs became one"
    assert 0 < space.size < WHOLE.size
    assert space.fingerprint != WHOLE.fingerprint


def test_a_choice_of_a_value_that_is_gone_decides_nothing() -> None:
    name = next(one.name for one in WHOLE.choices if one.name.endswith("mixer"))
    child = next(
        one
        for one in WHOLE.choices
        if one.parent == name and set(one.parent_values) < {*WHOLE.choices[WHOLE.column[name]].values}
    )
    left = [one for one in WHOLE.choices[WHOLE.column[name]].values if one not in child.parent_values]
    space = narrowed(WHOLE, {name: left})
    dead = space.choices[space.column[child.name]]
    assert (dead.parent, len(dead.values)) == ("", 1)
    rows = space.sample(50, np.random.default_rng(0))
    np.testing.assert_array_equal(lifting(space, WHOLE)(rows)[:, WHOLE.column[child.name]], 0)


def test_a_space_that_only_builds_and_a_declared_reference() -> None:
    whole = SearchSpace(
        "mine",
        [Choice("width", (8, 16, 32)), Choice("depth", (1, 2))],
        build=lambda arch: None,
        reference={"width": 16, "depth": 2},
    )
    assert narrowed(whole, {"width": (8, 16)}).largest() == {"width": 16, "depth": 2}
    declared = narrowed(whole, {"depth": (1,)}, reference={"width": 32, "depth": 1})
    assert declared.largest() == {"width": 32, "depth": 1}


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ({"widht": (8,)}, "Did you mean 'width'"),
        ({"width": (9,)}, "takes .*, not 9"),
        ({"width": ()}, "left without values"),
    ],
)
def test_what_the_space_has_not_is_refused(kept: dict[str, tuple[int, ...]], words: str) -> None:
    whole = SearchSpace("mine", [Choice("width", (8, 16))], build=lambda arch: None)
    with pytest.raises(ValueError, match=words):
        narrowed(whole, kept)
