"""Gates of gates: products of depthwise convolutions, one for each order of interaction.

"HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions" (Rao et al., NeurIPS
2022), section 3.1, g^n convolution. The paper projects once and cuts the result into parts; here each part
has a projection of its own, as where a part begins may not depend on the width. Norms follow the projections
and the depthwise convolutions and fold into them, and take the place of its scale. Its global filter in
place of the kernel is left out.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, ConvNorm, OddSize, Positive


class RecursiveGates(nn.Module):
    """p_0 * f_0(x), then widened and multiplied by f_1(x), and so on, projected; keeps (B, C, H, W).

    f_k is a projection and a depthwise convolution; the last has C channels, the one before it half of them.

    Args:
        channels: C.
        order: products, one more than the widenings. A lower order has the last of a higher.
        kernel: side of the depthwise kernels in pixels, odd.
    """

    def __init__(self, channels: int, *, order: Positive, kernel: OddSize) -> None:
        super().__init__()
        # From the widest down, so that networks of another order share what they have in common.
        widths = [max(1, channels // 2**halvings) for halvings in range(order)]
        least = order - 1
        self.first = nn.ModuleDict({f"width{least}": ConvNorm(channels, widths[least])})
        self.factors = nn.ModuleList(
            nn.Sequential(ConvNorm(channels, width), ConvNorm(width, width, kernel, groups=width))
            for width in widths
        )
        self.widen = nn.ModuleList(ConvNorm(narrow, wide) for wide, narrow in pairwise(widths))
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        (first,) = self.first.values()
        least = len(self.factors) - 1
        y = first(x) * self.factors[least](x)
        for index in range(least - 1, -1, -1):
            y = self.widen[index](y) * self.factors[index](x)
        mixed: Tensor = self.project(y)
        return mixed


register_mixer(
    Mixer(name="gnconv", make=RecursiveGates, choices=(Choice("order", (2, 3, 4), role="depth"), KERNEL))
)
