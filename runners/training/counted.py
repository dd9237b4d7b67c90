"""Counting what a training costs while it runs, by what its rule asks for."""

from __future__ import annotations

import numpy as np

from nas.rules.moment import Moment, Pass, Rule, Size
from search_spaces.spaces.preset_sizes import TRAINING


class Counted:
    """A training rule that counts the multiply-accumulates of the passes it gives.

    Those at another resolution count by its share of the pixels.

    Args:
        rule: rule that is asked.
        macs: MACs of archs for one input, (n,).
        shape: (C, H, W) of that input.
    """

    def __init__(self, rule: Rule, macs: Size, shape: tuple[int, ...]) -> None:
        self._rule, self._macs, self._pixels = rule, macs, shape[-2] * shape[-1]
        self._total, self._steps = 0.0, 0

    def __call__(self, moment: Moment) -> list[Pass]:
        passes = self._rule(moment)
        macs = self._macs(np.stack([moment.space.to_row(one.arch) for one in passes]))
        shares = [
            one.resolution[0] * one.resolution[1] / self._pixels if one.resolution else 1.0 for one in passes
        ]
        self._total += TRAINING * float(np.dot(macs, shares))
        self._steps += 1
        return passes

    def per_image(self) -> float:
        """Multiply-accumulates for one image, forward and backward: mean of the steps since last asked."""
        mean = self._total / self._steps if self._steps else 0.0
        self._total, self._steps = 0.0, 0
        return mean
