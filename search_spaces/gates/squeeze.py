"""Squeeze and excitation: two small layers on the means of the channels."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from search_spaces.gates.registry import GATES

LEAST_HIDDEN = 8


class SqueezeExcitation(nn.Module):
    """x * hard_sigmoid(W2 relu(W1 mean(x) + b1) + b2), (B, C, H, W) -> (B, C, H, W).

    "Squeeze-and-Excitation Networks" (Hu et al., CVPR 2018), with the hard sigmoid of "Searching for
    MobileNetV3" (Howard et al., ICCV 2019, section 5.3).

    Args:
        channels: C.
        reduction: C over the channels between.
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(LEAST_HIDDEN, channels // reduction)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.act = nn.ReLU()
        self.excite = nn.Conv2d(hidden, channels, 1)
        self.weigh = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.weigh(self.excite(self.act(self.squeeze(self.pool(x)))))
        return x * weights


# A quarter of the channels that are weighed (MobileNetV3); and of the block's, where those are four or six
# times as many (MaxViT; EfficientNet, Tan and Le, ICML 2019).
GATES.add("se", SqueezeExcitation)
GATES.add("se_16", partial(SqueezeExcitation, reduction=16))
GATES.add("se_24", partial(SqueezeExcitation, reduction=24))
