"""The small modules that layers are made of. All take and give (B, C, H, W)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from search_spaces.choice import Choice


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError("the size of a kernel has to be odd")
    return size


OddSize = Annotated[int, Field(ge=1), AfterValidator(_odd)]
"""Side of a kernel in pixels."""

Positive = Annotated[int, Field(ge=1)]
"""A number of channels, pixels or parts."""

PositiveRatio = Annotated[int | float, Field(gt=0)]
"""Channels over channels."""

KERNEL = Choice("kernel", (3, 5, 7), role="kernel")
"""Side of a window in pixels, as a choice of mixers; those of one block share it."""


class StarReLU(nn.Module):
    """scale * relu(x)^2 + shift, with one learned number each.

    "MetaFormer Baselines for Vision" (Yu et al., TPAMI 2024), section 3: the first values make the variance
    of a normal input one and its mean zero.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.8944]))
        self.shift = nn.Parameter(torch.tensor([-0.4472]))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * torch.relu(x) ** 2 + self.shift


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "starrelu": StarReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
}


class ConvNorm(nn.Sequential):
    """Convolution without bias, BatchNorm, and an activation where one is named.

    The norm follows the convolution so that it folds into it: deployed, this is one convolution.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        kernel: side of the kernel in pixels, or height and width; odd ones keep the size of the map.
        stride: stride both ways.
        groups: groups of channels.
        dilation: pixels between taps.
        activation: name of the activation after the norm; empty for none.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int] = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        activation: str = "",
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (dilation * (height // 2), dilation * (width // 2))
        self.conv = nn.Conv2d(
            inputs, outputs, (height, width), stride, padding, dilation, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)
        if activation:
            self.act = ACTIVATIONS[activation]()


def groups_name(group_width: int, groups: int) -> str:
    """The name of a grouped convolution, as weights of groups of another width mean other things.

    One group alone is a dense convolution, which shares weights with no grouped one.
    """
    return f"groups_of_{group_width}" if groups > 1 else f"dense_{group_width}"


class Residual(nn.Module):
    """x + inner(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Mlp(nn.Sequential):
    """Two 1x1 convolutions with an activation between: channels -> ratio * channels -> channels."""

    def __init__(self, channels: int, ratio: float, activation: str) -> None:
        super().__init__()
        hidden = round(channels * ratio)
        self.expand = ConvNorm(channels, hidden, activation=activation)
        self.project = ConvNorm(hidden, channels)


class Head(nn.Sequential):
    """Global average pooling and a linear classifier: (B, C, H, W) -> (B, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classify = nn.Linear(channels, classes)


class WideHead(nn.Sequential):
    """1x1 convolution, global average pooling, linear layer, classifier: (B, C, H, W) -> (B, classes).

    "Searching for MobileNetV3" (Howard et al., ICCV 2019), section 5.1, where the last layers are wider than
    the last stage; without the linear layer MobileNetV2's (Sandler et al., CVPR 2018, table 2).

    Args:
        channels: width of the last stage.
        classes: outputs.
        last: channels of the 1x1 convolution; 0 for none.
        hidden: features of the linear layer; 0 for none.
        activation: name of the activation after both.
    """

    def __init__(self, channels: int, classes: int, *, last: int, hidden: int, activation: str) -> None:
        super().__init__()
        if last:
            self.last = ConvNorm(channels, last, activation=activation)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        if hidden:
            self.hidden = nn.Linear(last or channels, hidden)
            self.act = ACTIVATIONS[activation]()
        self.classify = nn.Linear(hidden or last or channels, classes)
