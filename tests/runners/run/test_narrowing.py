"""What a run leaves out of its space, and what a later search is told of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.costs.layers.sums import SlotSums
from nas.costs.model.correction import Correction
from nas.costs.model.latency import LatencyModel
from results.records import SpaceRecord
from runners.console import Console
from runners.run.narrowing import LARGEST, fix_space, fixed_space, narrowed_warning, trained_space
from search_spaces.choice import Choice
from search_spaces.space import SearchSpace
from search_spaces.spaces.presets import preset

SPACE = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("identity", "depthwise"))


def by_macs() -> LatencyModel:
    """A millisecond for a million multiply-accumulates."""
    layers = SlotSums(SPACE)
    kinds = len(set(layers.kinds))
    return LatencyModel(
        layers=layers,
        layer_ms=1e-6 * SPACE.layer_macs,
        correction=Correction(
            slope=1.0,
            offset_ms=0.0,
            per_layer=(0.0,) * len(layers.keys),
            per_kind_ms=(0.0,) * kinds,
            per_byte_ms=(0.0,) * kinds,
            after="",
            per_later_ms=0.0,
            per_later_byte_ms=0.0,
            ms_per_spilled_byte=0.0,
            cache_bytes=np.inf,
        ),
        ratios=(1.0, 1.0, 1.0),
    )


def fixed(tmp_path: Path, limit_ms: float, space: SearchSpace = SPACE, **models: Any) -> SpaceRecord:
    return fix_space(
        space,
        lambda: (models or {"fp32": by_macs()}, limit_ms),
        profile="board",
        left_out=("attention",),
        run=tmp_path,
        console=Console(tmp_path / "log.txt"),
    )


def test_what_is_over_the_limit_is_left_out_written_down_and_said(tmp_path: Path) -> None:
    fastest, slowest = 1e-6 * SPACE.sum_over_layers(SPACE.ends, SPACE.layer_macs)
    limit = float(fastest + 0.02 * (slowest - fastest))
    record = fixed(tmp_path, limit)
    assert fixed_space(tmp_path) == record
    assert record.left_out == ("attention",)
    space = trained_space(SPACE, record)
    assert space.size == record.networks_left < SPACE.size == record.networks
    said = (tmp_path / "log.txt").read_text()
    assert "attention left out of the space: profile board cannot run it" in said
    assert f"no network with it takes {limit:.4g} ms or less" in said
    widths = SPACE.choices[SPACE.column["stage1.width"]].values
    assert set(record.kept["stage1.width"]) < set(widths)
    assert f"stage1.width {widths[-1]}" in said or f", {widths[-1]}" in said
    # Its largest is within some times the limit, and none that is has more multiply-accumulates.
    (largest,) = 1e-6 * SPACE.sum_over_layers(SPACE.to_row(space.largest())[None], SPACE.layer_macs)
    assert largest <= LARGEST * limit
    rows = np.array(
        [SPACE.to_row(space.to_arch(row)) for row in space.sample(2000, np.random.default_rng(0))]
    )
    macs = 1e-6 * SPACE.sum_over_layers(rows, SPACE.layer_macs)
    assert largest >= macs[macs <= LARGEST * limit].max()


def test_a_limit_that_all_meet_leaves_the_space_as_it_is(tmp_path: Path) -> None:
    record = fixed(tmp_path, 1e6)
    assert (record.kept, record.reference) == ({}, None)
    assert trained_space(SPACE, record) is SPACE
    assert "no network with it" not in (tmp_path / "log.txt").read_text()


def test_a_faster_form_keeps_what_a_slower_one_cannot_have(tmp_path: Path) -> None:
    (slowest,) = 1e-6 * SPACE.sum_over_layers(SPACE.ends[1:], SPACE.layer_macs)
    halved = replace(by_macs(), layer_ms=by_macs().layer_ms / 10)
    alone, both = (
        fixed(tmp_path, 0.05 * float(slowest), fp32=by_macs(), **more) for more in ({}, {"int8": halved})
    )
    assert alone.networks_left < both.networks_left


def test_a_limit_that_nothing_meets_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the fastest takes .* --set search.latency_ms="):
        fixed(tmp_path, 1e-9)
    assert fixed_space(tmp_path) is None


def test_a_space_that_only_builds_is_left_as_it_is(tmp_path: Path) -> None:
    mine = SearchSpace("mine", [Choice("width", (8, 16))], build=lambda arch: None)  # type: ignore[arg-type, return-value]

    def asked() -> Any:
        raise AssertionError("the layers of its networks were looked for")

    record = fix_space(mine, asked, profile="board", left_out=(), run=tmp_path, console=Console())
    assert record.limit_ms is None
    assert fixed_space(tmp_path) == record
    assert trained_space(mine, record) is mine
    assert narrowed_warning(record, 9.0, "other", tmp_path) == ""


@pytest.mark.parametrize(
    ("kept", "limit_ms", "profile", "warned"),
    [
        ({"width": (8,)}, 1.0, "board", False),
        ({"width": (8,)}, 0.5, "board", False),
        ({"width": (8,)}, 2.0, "board", True),
        ({"width": (8,)}, 0.5, "other", True),
        ({}, 2.0, "other", False),
    ],
)
def test_a_looser_limit_or_another_device_is_told_what_the_space_lacks(
    kept: Any, limit_ms: float, profile: str, warned: bool
) -> None:
    record = SpaceRecord(profile="board", limit_ms=1.0, kept=kept, networks=4.0, networks_left=2.0)
    words = narrowed_warning(record, limit_ms, profile, Path("runs/x"))
    assert bool(words) == warned
    if warned:
        assert "narrowed for 1 ms on board" in words
        assert f"quarry train --out runs/x --set search.latency_ms={limit_ms:.4g}" in words
