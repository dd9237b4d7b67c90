"""Shortcuts that are concatenations: all earlier results, or those at distances of one, two, four, eight."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from search_spaces.blocks.aggregate import Aggregate
from search_spaces.blocks.osa import GROWTH
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.parts import ConvNorm, Positive, PositiveRatio

Links = Literal["all", "log2"]
"""The earlier results that a layer is given."""


def linked(place: int, links: Links) -> list[int]:
    """The places before one that it is given, the latest first; 0 is the block's input."""
    if links == "all":
        return list(range(place - 1, -1, -1))
    return [place - 2**power for power in range(place.bit_length()) if 2**power <= place]


class Dense(nn.Module):
    """Layers of a 1x1 and a 3x3 convolution on the concatenation of earlier results, and a 1x1 at the end.

    "Densely Connected Convolutional Networks" (Huang et al., CVPR 2017), section 3, with bottlenecks, taken
    up by "DenseNets Reloaded" (Kim et al., ECCV 2024), whose layers are those of ConvNeXt: left out. With
    ``links = "log2"`` a layer is given the results at exponential distances: "Sparsely Aggregated
    Convolutional Networks" (Zhu et al., ECCV 2018), section 3.2. Norms follow the convolutions.

    Args:
        inputs: channels of the block; what stands before the stage changes the shape.
        outputs: the same number.
        stride: 1.
        activation: name of the activation after each convolution.
        layers: how many layers there are.
        growth: channels that each of them adds, over ``inputs``.
        links: earlier results that each is given: ``all``, or those at distances of powers of two.
        bottleneck: channels between the two convolutions of a layer, over those that it adds.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,  # noqa: ARG002  always 1
        activation: str,
        layers: Positive,
        growth: PositiveRatio,
        links: Links,
        bottleneck: Positive = 2,
    ) -> None:
        super().__init__()
        added = max(1, round(inputs * growth))
        self.links = [linked(place, links) for place in range(1, layers + 2)]

        def sources(place: int) -> dict[str, int]:
            return {f"from{at}": added if at else inputs for at in self.links[place - 1]}

        self.squeezes = nn.ModuleList(
            Aggregate(sources(place), bottleneck * added, activation=activation)
            for place in range(1, layers + 1)
        )
        self.convs = nn.ModuleList(
            ConvNorm(bottleneck * added, added, 3, activation=activation) for _ in range(layers)
        )
        # Where the end is, changes with the number of layers, and so does what it is given.
        self.ends = nn.ModuleDict({f"after{layers}": Aggregate(sources(layers + 1), outputs)})

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for links, squeeze, conv in zip(self.links, self.squeezes, self.convs, strict=False):
            found.append(conv(squeeze([found[at] for at in links])))
        (end,) = self.ends.values()
        result: Tensor = end([found[at] for at in self.links[-1]])
        return result


register_block(
    Block(
        name="dense",
        make=Dense,
        choices=(Choice("layers", (2, 4), role="depth"), GROWTH, Choice("links", ("log2", "all"))),
        entered=True,
    )
)
