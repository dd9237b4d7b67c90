"""What a training costs is what its networks run, counted by PyTorch's own counter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.costs.counts.analytic import AnalyticCosts
from nas.rules import rule
from nas.rules.moment import Moment, Pass, Rule
from runners.training.counted import StepCosts
from tests.runners.training.test_loop import tiny_space

SPACE = tiny_space()


def macs_of(arch: dict[str, Any], side: int) -> float:
    network = SPACE.build(arch).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 1, side, side))
    return counter.get_total_flops() / 2


def costs(given: Rule) -> StepCosts:
    macs = AnalyticCosts(SPACE).macs
    return StepCosts(rule=given, space=SPACE, macs=macs, drawn_by=macs, pixels=64, seed=3, steps=40)


def test_the_passes_of_a_rule_are_counted_forward_and_backward() -> None:
    given: list[list[Pass]] = []
    sandwich = rule("sandwich")

    def seen(moment: Moment) -> list[Pass]:
        given.append(sandwich(moment))
        return given[-1]

    found = costs(seen).per_image(10, 13)
    assert len(given) == 3
    wanted = 3 * np.mean([sum(macs_of(one.arch, 8) for one in passes) for passes in given])
    assert found == pytest.approx(wanted, rel=0.01)
    assert costs(sandwich).per_image(10, 13) == found  # whoever asks, and whenever


def test_smaller_images_count_for_their_pixels() -> None:
    arch = SPACE.smallest()  # without attention, whose arithmetic grows faster
    found = costs(lambda moment: [Pass(arch=arch, resolution=(16, 16))]).per_image(0, 1)
    assert found == pytest.approx(3 * macs_of(arch, 16), rel=0.02)
