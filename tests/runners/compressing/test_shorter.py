"""Blocks are left out where narrower layers are no faster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from results.files import append_line, read_lines
from runners.compressing.goal import Goal
from runners.compressing.model import compress_model
from runners.compressing.options import Options
from runners.compressing.shorter import Blocks, Shorter, shorter
from tests.runners.compressing.test_model import Residual

PROFILE = """
name = "launches"
summary = "a processor on which every layer takes the same time, for tests"
precisions = ["fp32"]
[runtime]
kind = "analytic"
macs_per_s = 1e15
bytes_per_s = 1e15
layer_overhead_ms = 1.0
"""


@pytest.mark.parametrize(
    ("blocks", "limit_ms", "found"),
    [
        # At full width all four would have to go, with all the arithmetic; at half of it two of four.
        (Blocks(count=4, latency=0.5, macs=1.0), 0.5, Shorter(share=0.5, speedup=0.6 / 0.5)),
        (Blocks(count=4, latency=1.0, macs=1.0), 0.5, Shorter(share=1.0, speedup=2.0)),
        # All four at full width leave 20, three at half of it 24.
        (Blocks(count=4, latency=0.8, macs=0.8), 0.3, Shorter(share=0.5, speedup=0.6 / 0.3)),
        (Blocks(count=4, latency=1.0, macs=1.0), 0.65, None),  # at half the width all stay
        (None, 0.5, None),
    ],
)
def test_the_share_that_leaves_most_arithmetic(
    blocks: Blocks | None, limit_ms: float, found: Shorter | None
) -> None:
    shares = {1.0: (1.0, 100), 0.5: (0.6, 60)}
    most = max((macs for latency, macs in shares.values() if latency <= limit_ms), default=0)
    got = shorter(blocks, shares, most, limit_ms)
    if found is None:
        assert got is None
    else:
        assert got is not None
        assert (got.share, got.speedup) == (found.share, pytest.approx(found.speedup))


def test_blocks_go_only_where_twice_the_arithmetic_is_left() -> None:
    blocks, shares = Blocks(count=4, latency=1.0, macs=1.0), {1.0: (1.0, 100)}
    assert shorter(blocks, shares, 24, 0.5) == Shorter(share=1.0, speedup=2.0)
    assert shorter(blocks, shares, 26, 0.5) is None


def test_a_goal_that_no_share_of_the_channels_meets_is_met_by_fewer_blocks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        *(Residual(16) for _ in range(4)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    profile = tmp_path / "launches.toml"
    profile.write_text(PROFILE)
    options = Options(
        profile=str(profile),
        input_shape=(1, 8, 8),
        shares=(0.5,),
        epochs=1,
        calibration_images=8,
        device="cpu",
    )
    done = compress_model(network, "digits", Goal(speedup=1.6), options, out=tmp_path / "out")
    answer = next(one for one in done.record.files if one.name == done.record.answer)
    assert done.record.met
    assert sum(isinstance(one, Residual) for one in done.network.modules()) <= 2
    assert answer.latency_ms <= done.record.original.latency_ms / 1.6
    log = (tmp_path / "out" / "compress" / "steps.jsonl").read_text()
    again = compress_model(network, "digits", Goal(speedup=1.6), options, out=tmp_path / "out")
    assert again.record == done.record
    assert (tmp_path / "out" / "compress" / "steps.jsonl").read_text() == log, "nothing is trained again"
    plans = tmp_path / "out" / "compress" / "shorter.jsonl"
    (plan,) = (Shorter.from_json(line) for line in read_lines(plans))
    append_line(plans, replace(plan, speedup=plan.speedup * 1.00001).to_json())  # as of nearly the same goal
    assert (
        compress_model(network, "digits", Goal(speedup=1.6), options, out=tmp_path / "out").record
        == again.record
    )
