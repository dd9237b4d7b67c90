"""Two layers over the positions of a map, the same for every channel.

"MLP-Mixer: An all-MLP Architecture for Vision" (Tolstikhin et al., NeurIPS 2021), section 2: its
token-mixing MLP, whose weights belong to positions and so to one size of map. Here they are those of a map
of at most ``side`` x ``side`` positions: a smaller map uses the first rows and columns, and a larger one is
cut into windows that share them, which is no longer global. Left out is the norm over channels before it:
what a channel does may not depend on the width.
"""

from __future__ import annotations

from torch import Tensor, fx, nn

from search_spaces.choice import Choice
from search_spaces.mixers.attention.partition import Windows
from search_spaces.mixers.attention.region import partition_at
from search_spaces.mixers.positions.matrix import PositionMatrix
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ACTIVATIONS, Positive

fx.wrap("partition_at")  # whoever folds norms traces without sizes


class TokenMlp(nn.Module):
    """W2 activation(W1 x + b1) + b2 over positions, (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        activation: name of the activation between the layers.
        tokens: units between the layers.
        side: longest side, in positions, of a map that is mixed as a whole. The weights are
            2 * tokens * side^2.
    """

    def __init__(
        self,
        channels: int,  # noqa: ARG002  its weights are as many at any width
        *,
        activation: str,
        tokens: Positive,
        side: Positive = 8,
    ) -> None:
        super().__init__()
        self.partition = Windows(side)
        self.expand = PositionMatrix(side, units=tokens)
        self.act = ACTIVATIONS[activation]()
        self.project = PositionMatrix(side, units=tokens, backwards=True)

    def forward(self, x: Tensor) -> Tensor:
        partition = partition_at(x, self.partition)
        hidden = self.act(self.expand(partition.split(partition.arrange(x)), partition))
        return partition.restore(partition.join(self.project(hidden, partition)))


register_mixer(Mixer(name="token_mlp", make=TokenMlp, choices=(Choice("tokens", (32, 64, 128)),)))
