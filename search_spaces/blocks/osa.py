"""One-shot aggregation, VoVNet's block: a chain of convolutions, whose results meet once at the end."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.blocks.aggregate import Aggregate
from search_spaces.blocks.joined import Joined, in_a_row
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.gates.registry import GATE, GateName, gated
from search_spaces.parts import ConvNorm, Positive, PositiveRatio

GROWTH = Choice("growth", (0.25, 0.5))
"""Channels of each layer over those of the block, as a choice of blocks."""


class ConvChain(nn.Module):
    """x and the results of dense 3x3 convolutions one after another, aggregated; keeps the shape."""

    def __init__(self, channels: int, inner: int, layers: int, activation: str) -> None:
        super().__init__()
        widths = [channels, *[inner] * layers]
        self.convs = nn.ModuleList(ConvNorm(width, inner, 3, activation=activation) for width in widths[:-1])
        sources = {f"from{index}": width for index, width in enumerate(widths)}
        self.aggregate = Aggregate(sources, channels, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for conv in self.convs:
            found.append(conv(found[-1]))
        result: Tensor = self.aggregate(found)
        return result


class OneShot(Joined):
    """Dense 3x3 convolutions in a chain, and a 1x1 convolution of all their results and x; x beside them.

    "An Energy and GPU-Computation Efficient Backbone Network for Real-Time Object Detection" (Lee et al.,
    CVPR Workshops 2019), section 3.2, with the shortcut and the place of the gate of its second version
    (CenterMask, CVPR 2020, section 3.2).

    Args:
        inputs: channels of the block; what stands before the stage changes the shape.
        outputs: the same number.
        stride: 1.
        activation: name of the activation after each convolution.
        layers: how many 3x3 convolutions there are.
        growth: channels of each of them over ``inputs``.
        gate: gate of the aggregated result.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        activation: str,
        layers: Positive,
        growth: PositiveRatio,
        gate: GateName = "none",
    ) -> None:
        chain = ConvChain(inputs, max(1, round(inputs * growth)), layers, activation)
        super().__init__(in_a_row(chain=chain, **gated(gate, outputs)), inputs, outputs, stride)


register_block(
    Block(
        name="osa",
        make=OneShot,
        choices=(Choice("layers", (3, 5), role="depth"), GROWTH, GATE),
        entered=True,
    )
)
