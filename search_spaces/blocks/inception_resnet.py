"""Inception-ResNet's blocks: branches of different reach, joined, scaled, and added to x."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from search_spaces.blocks.aggregate import Aggregate
from search_spaces.blocks.joined import in_a_row
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.parts import ACTIVATIONS, ConvNorm

Form = Literal["a", "b", "c"]
"""The block of the first, second or third stage of the network."""

Kernel = int | tuple[int, int]

BRANCHES: dict[str, tuple[tuple[tuple[Kernel, float], ...], ...]] = {
    "a": (((1, 1),), ((1, 1), (3, 1)), ((1, 1), (3, 1.5), (3, 2))),
    "b": (((1, 1),), ((1, 0.67), ((1, 7), 0.83), ((7, 1), 1))),
    "c": (((1, 1),), ((1, 1), ((1, 3), 1.17), ((3, 1), 1.33))),
}
"""Kernel, and channels over those of the branch of one convolution, of each convolution of each branch."""


class InceptionResidual(nn.Module):
    """activation(x + scale * (a 1x1 convolution of all branches)), (B, C, H, W) -> (B, C, H, W).

    "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning" (Szegedy et al., AAAI
    2017), figures 10, 11 and 13 (those of Inception-ResNet-v1), and section 3.3 for the scale. There each
    stage has a width and its branches numbers of channels; here the branches follow the width in the papers'
    proportions. Its reductions are left out: entries take their place.

    Args:
        inputs: channels of the block; what stands before the stage changes the shape.
        outputs: the same number.
        stride: 1.
        activation: name of the activation after each convolution but the last, and after the sum.
        form: branches: 3x3 convolutions (``a``), 1x7 and 7x1 (``b``), or 1x3 and 3x1 (``c``).
        share: channels of the branch of one 1x1 convolution, over ``inputs``.
        scale: factor on what is added to x.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,  # noqa: ARG002  always 1
        activation: str,
        form: Form,
        share: Annotated[float, Field(gt=0, le=1)] = 0.25,
        scale: Annotated[float, Field(gt=0)] = 0.2,
    ) -> None:
        super().__init__()
        branches, ends = {}, {}
        for index, convs in enumerate(BRANCHES[form]):
            parts: dict[str, nn.Module] = {}
            width = inputs
            for at, (kernel, over) in enumerate(convs):
                wider = max(1, round(inputs * share * over))
                parts[f"conv{at}"] = ConvNorm(width, wider, kernel, activation=activation)
                width = wider
            branches[f"{form}{index}"], ends[f"{form}{index}"] = in_a_row(**parts), width
        self.branches = nn.ModuleDict(branches)
        self.join, self.scale = Aggregate(ends, outputs), scale
        self.act = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        joined = self.join([branch(x) for branch in self.branches.values()])
        result: Tensor = self.act(x + self.scale * joined)
        return result


register_block(
    Block(
        name="inception_resnet",
        make=InceptionResidual,
        choices=(Choice("form", ("a", "b", "c")),),
        entered=True,
    )
)
