"""What a training costs is what its networks run, counted by PyTorch's own counter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.costs.counts.analytic import AnalyticCosts
from nas.rules import rule
from nas.rules.moment import Moment, Pass
from runners.training.counted import Counted
from tests.runners.training.test_loop import tiny_space

SPACE = tiny_space()


def macs_of(arch: dict[str, Any], side: int) -> float:
    network = SPACE.build(arch).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 1, side, side))
    return counter.get_total_flops() / 2


def test_the_passes_of_a_rule_are_counted_forward_and_backward() -> None:
    given: list[list[Pass]] = []
    sandwich = rule("sandwich")

    def seen(moment: Moment) -> list[Pass]:
        given.append(sandwich(moment))
        return given[-1]

    counted = Counted(seen, AnalyticCosts(SPACE).macs, (1, 8, 8))
    for step in range(3):
        counted(Moment(space=SPACE, rng=np.random.default_rng(step)))
    wanted = 3 * np.mean([sum(macs_of(one.arch, 8) for one in passes) for passes in given])
    assert counted.per_image() == pytest.approx(wanted, rel=0.01)
    assert counted.per_image() == 0.0  # since last asked


def test_smaller_images_count_for_their_pixels() -> None:
    arch = SPACE.smallest()  # without attention, whose arithmetic grows faster
    counted = Counted(
        lambda moment: [Pass(arch=arch, resolution=(16, 16))], AnalyticCosts(SPACE).macs, (1, 8, 8)
    )
    counted(Moment(space=SPACE, rng=np.random.default_rng(0)))
    assert counted.per_image() == pytest.approx(3 * macs_of(arch, 16), rel=0.02)
