"""Heads that attend inside the groups of a partition, with projections of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add
from typing import Any, Literal

from torch import Tensor, fx, nn

from search_spaces.mixers.attention.bias import BIASES
from search_spaces.mixers.attention.heads import Attend, Logits, Weights, by_head, heads_of
from search_spaces.mixers.attention.partition import Partition
from search_spaces.parts import ConvNorm

Bias = Literal["none", "log", "offset"]
"""What heads know of where two positions lie: nothing, Swin V2's log-spaced bias, or CrossFormer's."""

PartitionOf = Callable[[int, int], Partition]
"""Gives the partition of a map of that height and width."""


BIAS_HIDDEN = 32
"""Width of the networks of the position bias; Swin V2 has 512, for thousands of offsets."""


def partition_at(x: Tensor, partition: PartitionOf) -> Partition:
    """The partition of a map (B, C, H, W)."""
    return partition(int(x.shape[2]), int(x.shape[3]))


fx.wrap("partition_at")  # whoever folds norms traces without sizes


class RegionHeads(nn.Module):
    """Some heads of a block, projected; (B, C, H, W) -> (B, C, H, W).

    Queries, keys and values are normalised 1x1 convolutions, as those of the attention over the whole map.

    Args:
        channels: C.
        heads: number of heads.
        partition: gives the groups of positions.
        head_channels: channels of a head.
        logits: how alike a query and a key are.
        weights: what makes weights of that.
        bias: what is known of where two positions lie.
        local: whether the depthwise 3x3 convolution of the values inside their group is added: the locally
            enhanced positional encoding of CSWin (Dong et al., CVPR 2022, section 3.3).
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        partition: PartitionOf,
        *,
        head_channels: int,
        logits: Logits = "dot",
        weights: Weights = "softmax",
        bias: Bias = "none",
        local: bool = False,
    ) -> None:
        super().__init__()
        self.head_channels, self.partition = head_channels, partition
        inner = heads * head_channels
        self.q = ConvNorm(channels, inner)
        self.k = ConvNorm(channels, inner)
        self.v = ConvNorm(channels, inner)
        self.attend = Attend(heads, head_channels, logits=logits, weights=weights)
        # The name says which: the networks of the biases have parameters of different meanings.
        self.bias = (
            nn.ModuleDict() if bias == "none" else nn.ModuleDict({bias: BIASES[bias](heads, BIAS_HIDDEN)})
        )
        self.local = ConvNorm(inner, inner, 3, groups=inner) if local else None
        self.project = ConvNorm(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        partition = partition_at(x, self.partition)
        x = partition.arrange(x)
        q, k, v = (partition.split(part(x)) for part in (self.q, self.k, self.v))  # (B groups, heads d, N)
        bias = next((one(partition) for one in self.bias.values()), None)
        mixed = self.attend(
            *(by_head(one, self.head_channels) for one in (q, k, v)),
            bias=bias,
            mask=partition.mask(x),
        )  # (B groups, heads, d, N)
        mixed = mixed.reshape(v.shape)
        if self.local is not None:
            maps = v.reshape(-1, v.shape[1], partition.rows.length, partition.columns.length)
            mixed = mixed + self.local(maps).reshape(v.shape)
        restored: Tensor = partition.restore(self.project(partition.join(mixed)))
        return restored


class Regional(nn.Module):
    """Heads shared out in turn between partitions of the map, and the sum of what these make; (B, C, H, W) ->
    the same.

    Every partition has projections of its own, so each is an attention of its own: its heads can be pruned
    whole, and the leading heads of a wider network are those of a narrower. Papers join all heads and project
    them once, which is the same map but for the norms.

    Args:
        channels: C, a multiple of ``head_channels``.
        partitions: what gives the partitions, by name; with fewer heads than partitions, the last are left
            out.
        name: name of the mixer, for messages.
        head_channels: channels of a head.
        how: the other arguments of ``RegionHeads``.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self,
        channels: int,
        partitions: Mapping[str, PartitionOf],
        *,
        name: str,
        head_channels: int,
        **how: Any,
    ) -> None:
        super().__init__()
        heads = heads_of(channels, head_channels, name)
        for index, (part, partition) in enumerate(partitions.items()):
            if index < heads:
                share = (heads - index + len(partitions) - 1) // len(partitions)
                self.add_module(
                    part, RegionHeads(channels, share, partition, head_channels=head_channels, **how)
                )

    def forward(self, x: Tensor) -> Tensor:
        return reduce(add, (part(x) for part in self.children()))
