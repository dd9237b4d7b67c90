"""IBN: instance normalisation for half of the channels, batch normalisation for the others."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.norms.registry import NORMS
from search_spaces.operations.dealing import Deal

HAND = 8


@NORMS.register("ibn")
class InstanceBatchNorm(nn.Module):
    """Channels in turn by instance and by batch statistics, (B, C, H, W) -> (B, C, H, W).

    "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net" (Pan et al., ECCV 2018),
    section 3.2, IBN-a. There it is the first half of the channels that instance statistics normalise; here
    the halves are dealt in hands of eight, as which half a channel is in may not depend on the width. And it
    stands before a part, not after its first convolution.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.deal = Deal((HAND, HAND), channels)
        by_instance, by_batch = self.deal.counts
        self.instance = nn.InstanceNorm2d(by_instance, affine=True)
        self.batch = nn.BatchNorm2d(by_batch) if by_batch else None

    def forward(self, x: Tensor) -> Tensor:
        if self.batch is None:
            alone: Tensor = self.instance(x)
            return alone
        first, second = self.deal.split(x)
        return self.deal.join([self.instance(first), self.batch(second)])
