"""Squeeze and excitation: two small layers on the means of the channels."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.gates.registry import GATES

REDUCTION = 4
LEAST_HIDDEN = 8


@GATES.register("se")
class SqueezeExcitation(nn.Module):
    """x * hard_sigmoid(W2 relu(W1 mean(x) + b1) + b2), (B, C, H, W) -> (B, C, H, W).

    "Squeeze-and-Excitation Networks" (Hu et al., CVPR 2018), with a quarter of the channels between and the
    hard sigmoid of "Searching for MobileNetV3" (Howard et al., ICCV 2019, section 5.3).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(LEAST_HIDDEN, channels // REDUCTION)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.act = nn.ReLU()
        self.excite = nn.Conv2d(hidden, channels, 1)
        self.weigh = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.weigh(self.excite(self.act(self.squeeze(self.pool(x)))))
        return x * weights
