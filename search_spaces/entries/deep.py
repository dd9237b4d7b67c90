"""The deep stem: several 3x3 convolutions in the place of one with a large kernel."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from search_spaces.entries.registry import StageEntry, register_entry
from search_spaces.parts import ConvNorm


class DeepStem(nn.Sequential):
    """3x3 convolutions with norm and activation, of which the first halves the map; a maximum does the rest.

    "Bag of Tricks for Image Classification with Convolutional Neural Networks" (He et al., CVPR 2019), figure
    2b: three convolutions, the first two of half the width, then a maximum over 3x3. MaxViT and MOAT have two
    of one width, EfficientFormer and UniRepLKNet two that both halve the map, Next-ViT four of which the last
    halves it again.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: pixels of the input for one of the output.
        activation: name of the activation.
        layers: how many convolutions there are.
        share: width of all but the last over ``outputs``.
        pool: whether a maximum does what is left of the stride; otherwise the last convolution does.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        activation: str,
        layers: Annotated[int, Field(ge=2)] = 3,
        share: Annotated[float, Field(gt=0, le=1)] = 0.5,
        pool: bool = True,
    ) -> None:
        super().__init__()
        first = 2 if stride % 2 == 0 else 1
        rest = stride // first
        before, hidden = inputs, max(1, round(outputs * share))
        for index in range(layers):
            after = outputs if index == layers - 1 else hidden
            step = first if index == 0 else rest if index == layers - 1 and not pool else 1
            self.add_module(f"conv{index}", ConvNorm(before, after, 3, stride=step, activation=activation))
            before = after
        if pool and rest > 1:
            self.pool = nn.MaxPool2d(3, rest, 1)


register_entry(StageEntry(name="deep", make=DeepStem))
