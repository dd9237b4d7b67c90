"""MetaFormer's block as the unit of a stage: any token mixer, and an MLP, each beside a shortcut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from results.registry import Setting, settings_of
from search_spaces.blocks.joined import in_a_row
from search_spaces.choice import Choice, Value
from search_spaces.mixers.registry import Mixer
from search_spaces.parts import Mlp, PositiveRatio, Residual

RATIO = Choice("ratio", (1, 2, 4))
"""Hidden channels of an MLP over those of its block, as a choice of blocks."""


@dataclass(frozen=True, slots=True)
class MixerAndMlp:
    """x + mixer(x), then x + mlp(x): what makes the MetaFormer block of one mixer.

    "MetaFormer Baselines for Vision" (Yu et al., TPAMI 2024); the norms follow the convolutions that they
    fold into. It holds the mixer itself: one that a user registers is in no registry of a worker.
    """

    mixer: Mixer

    def __call__(
        self,
        inputs: int,
        outputs: int,  # noqa: ARG002
        *,
        stride: int,  # noqa: ARG002
        activation: str,
        ratio: float,
        **values: Value,
    ) -> nn.Module:
        """The block, freshly initialised.

        Args:
            inputs: channels of the block; a convolution before the stage changes the shape.
            outputs: the same number.
            stride: 1.
            activation: name of the activation.
            ratio: hidden channels of the MLP over ``inputs``.
            values: choices and settings of the mixer.
        """
        mlp = Residual(Mlp(inputs, ratio, activation))
        if self.mixer.make is None:  # identity
            return in_a_row(mlp=mlp)
        return in_a_row(mixer=Residual(self.mixer(inputs, activation=activation, **values)), mlp=mlp)

    @property
    def settings(self) -> Mapping[str, Setting]:
        """The parameters of the mixer's ``make`` that are settings or choices, and the ratio."""
        text = "hidden channels of the MLP over those of the block"
        ratio = Setting(name=RATIO.name, annotation=PositiveRatio, default=RATIO.values, text=text)
        own = {} if self.mixer.make is None else settings_of(self.mixer.make)
        return {**own, ratio.name: ratio}
