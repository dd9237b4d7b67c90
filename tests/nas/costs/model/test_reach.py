"""What a limit leaves of a space, against every arch of a small one looked at."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from nas.costs.layers.sums import SlotSums
from nas.costs.model.correction import Correction
from nas.costs.model.latency import LatencyModel
from nas.costs.model.reach import reachable
from search_spaces.space import SearchSpace
from search_spaces.spaces.narrowed import narrowed
from search_spaces.spaces.presets import preset


@cache
def space() -> SearchSpace:
    """Few enough networks to look at all: one block a stage."""
    whole = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("identity", "depthwise"))
    depths = {one.name: one.values[:1] for one in whole.choices if one.role == "depth"}
    small = narrowed(whole, depths)
    assert small.size < 300_000
    return small


@cache
def model(seed: int, later_ms: float = 0.0) -> LatencyModel:
    layers = SlotSums(space())
    kinds = len(set(layers.kinds))
    rng = np.random.default_rng(seed)
    return LatencyModel(
        layers=layers,
        layer_ms=rng.uniform(0.01, 1.0, len(layers.keys)),
        correction=Correction(
            slope=0.8,
            offset_ms=0.1,
            per_layer=(0.0,) * len(layers.keys),
            per_kind_ms=(0.01,) * kinds,
            per_byte_ms=(0.0,) * kinds,
            after="depthwise" if later_ms else "",
            per_later_ms=later_ms,
            per_later_byte_ms=0.0,
            ms_per_spilled_byte=0.0,
            cache_bytes=np.inf,
        ),
        ratios=(0.99, 1.0, 1.01),
    )


def lower_ms(models: list[LatencyModel], rows: np.ndarray) -> np.ndarray:
    return np.min([one.interval(rows)[0] for one in models], axis=0)


@pytest.mark.parametrize("models", [[model(0)], [model(1)], [model(2), model(3)]])
@pytest.mark.parametrize("share", [0.02, 0.2, 0.9])
def test_a_value_is_left_out_exactly_where_no_arch_under_the_limit_has_it(
    models: list[LatencyModel], share: float
) -> None:
    rows = space().enumerate()
    lower = lower_ms(models, rows)
    limit = float(np.quantile(lower, share))
    kept = reachable(space(), models, limit)
    good = rows[lower <= limit]
    active = space().active(good)
    for column, choice in enumerate(space().choices):
        found = {choice.values[value] for value in good[active[:, column], column]}
        assert set(kept.get(choice.name, choice.values)) == found or not found


def test_what_may_make_later_layers_faster_counts_as_if_it_did() -> None:
    faster = model(0, later_ms=-0.05)
    rows = space().enumerate()
    limit = float(np.quantile(lower_ms([faster], rows), 0.05))
    kept = reachable(space(), [faster], limit)
    for row in rows[lower_ms([faster], rows) <= limit]:
        arch, active = space().to_arch(row), space().active(row[None])[0]
        for name in np.array(space().names)[active]:
            assert arch[name] in kept.get(name, (arch[name],))


def test_layers_that_cannot_run_are_left_out_whatever_the_limit() -> None:
    broken = np.array([np.inf if kind == "depthwise" else 0.1 for kind in model(0).layers.kinds])
    kept = reachable(space(), [replace(model(0), layer_ms=broken)], 1e9)
    mixers = [one.name for one in space().choices if "depthwise" in one.values]
    assert mixers
    assert all(kept[name] == ("identity",) for name in mixers)


def test_a_limit_that_nothing_meets_says_what_the_fastest_takes() -> None:
    fastest = float(lower_ms([model(0)], space().enumerate()).min())
    with pytest.raises(ValueError, match=f"the fastest takes {fastest:.4g} ms"):
        reachable(space(), [model(0)], 0.9 * fastest)
