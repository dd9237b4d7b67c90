"""Networks written by hand, as an engineer writes them for one job: what presets have to contain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    parts: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*parts, *([nn.ReLU()] if relu else []))


class Basic(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.one = convolution(inputs, outputs, 3, stride)
        self.two = convolution(outputs, outputs, 3, relu=False)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.two(self.one(x)) + self.shortcut(x))


class Inverted(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.body = nn.Sequential(
            convolution(inputs, hidden, 1),
            convolution(hidden, hidden, 3, stride, groups=hidden),
            convolution(hidden, outputs, 1, relu=False),
        )
        self.same = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.same else self.body(x)


class Next(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        same = inputs == outputs and stride == 1
        self.down = nn.Identity() if same else convolution(inputs, outputs, 3, stride)
        self.body = nn.Sequential(
            convolution(outputs, outputs, 7, groups=outputs, relu=False),
            convolution(outputs, 4 * outputs, 1),
            convolution(4 * outputs, outputs, 1, relu=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return x + self.body(x)


class Former(nn.Module):
    """A depthwise convolution and an MLP, each beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        same = inputs == outputs and stride == 1
        self.down = nn.Identity() if same else convolution(inputs, outputs, 3, stride)
        self.mixer = convolution(outputs, outputs, 3, groups=outputs)
        self.mlp = nn.Sequential(
            convolution(outputs, 2 * outputs, 1), convolution(2 * outputs, outputs, 1, relu=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        x = x + self.mixer(x)
        return x + self.mlp(x)


KINDS = {"residual": Basic, "mbconv": Inverted, "convnext": Next, "depthwise": Former}


class ByHand(nn.Module):
    """A 3x3 stem, three stages of strides 1, 2, 2, and a pooled head."""

    def __init__(
        self, kind: str, stem_stride: int, widths: Sequence[int], depths: Sequence[int], classes: int = 10
    ) -> None:
        super().__init__()
        self.stem = convolution(3, widths[0], 3, stem_stride)
        before, blocks = widths[0], []
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for number in range(depth):
                stride = 2 if index and not number else 1
                blocks.append(KINDS[kind](before, width, stride))  # type: ignore[abstract]
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))
