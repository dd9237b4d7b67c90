"""What a training costs, by what its rule asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas.rules.moment import Moment, Rule, Size
from search_spaces.space import SearchSpace
from search_spaces.spaces.preset_sizes import TRAINING

_LOOKED_AT = 20  # steps of an epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCosts:
    """The arithmetic of the steps of a training, the same whenever it is asked for.

    A rule that goes by its history is asked as if there were none; a pass at another resolution counts by its
    share of the pixels.

    Attributes:
        rule: rule that says what runs in a step.
        space: space of the networks.
        macs: MACs of archs for one input, (n,).
        drawn_by: size that the rule draws archs by; None where it draws every choice uniformly.
        pixels: pixels of that input.
        seed: seed of the training.
        steps: steps of the whole training.
    """

    rule: Rule
    space: SearchSpace
    macs: Size
    drawn_by: Size | None
    pixels: int
    seed: int
    steps: int

    def per_image(self, first: int, last: int) -> float:
        """Multiply-accumulates for one image, forward and backward: the mean of some steps from ``first`` to
        before ``last``."""
        looked_at = np.unique(np.linspace(first, last - 1, _LOOKED_AT).round().astype(int))
        return float(np.mean([self._per_image(int(step)) for step in looked_at]))

    def _per_image(self, step: int) -> float:
        moment = Moment(
            space=self.space,
            rng=np.random.default_rng([self.seed, step]),  # as the loop has it
            progress=step / self.steps,
            size=self.drawn_by,
        )
        passes = self.rule(moment)
        macs = self.macs(np.stack([self.space.to_row(one.arch) for one in passes]))
        sizes = [one.resolution[0] * one.resolution[1] if one.resolution else self.pixels for one in passes]
        return TRAINING * float(np.dot(macs, sizes)) / self.pixels
