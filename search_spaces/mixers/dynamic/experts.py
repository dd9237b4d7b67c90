"""Convolutions whose kernel is a mixture of several, mixed for each image by what is in all of its map."""

from __future__ import annotations

import copy
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from search_spaces.mixers.dynamic.folding import scale_and_shift
from search_spaces.mixers.dynamic.windowed import windowed
from search_spaces.parts import ACTIVATIONS

Experts = Annotated[int, Field(ge=1)]
"""Kernels that are mixed."""


class ExpertConv(nn.Module):
    """A convolution with the kernel sum_i a_i W_i of each image, a = sigmoid(R mean(x) + r).

    "CondConv: Conditionally Parameterized Convolutions for Efficient Inference" (Yang et al., NeurIPS
    2019), section 3. It costs one convolution and experts multiply-accumulates for each weight of a
    kernel. What it runs for one image is that image's plain convolution; a batch goes through one product
    for each image, or tap by tap, since a file's convolutions have one kernel for all. (B, inputs, H, W)
    -> (B, outputs, ceil(H / stride), ceil(W / stride)).

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        kernel: side of the kernel in pixels, odd; 1 where it is not depthwise.
        stride: pixels of the input for one of the output.
        depthwise: whether each channel has a kernel of its own.
        experts: kernels that are mixed. Those of fewer are the leading ones of more.

    Raises:
        ValueError: a kernel larger than 1 that is not depthwise.
    """

    centre_dims: ClassVar = {"weight": (3, 4)}

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int, depthwise: bool, experts: int
    ) -> None:
        super().__init__()
        if kernel > 1 and not depthwise:
            raise ValueError(f"a mixed kernel of side {kernel} has to be depthwise; others are 1x1")
        self.kernel, self.stride, self.depthwise = kernel, stride, depthwise
        self.weight = nn.Parameter(torch.empty(experts, outputs, 1 if depthwise else inputs, kernel, kernel))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.route = nn.Conv2d(inputs, experts, 1)
        for expert in self.weight:
            nn.init.kaiming_uniform_(expert, a=5**0.5)

    def kernels(self, x: Tensor) -> Tensor:
        """The kernel of each image, flat: (B, weights of a kernel)."""
        shares = torch.sigmoid(self.route(self.pool(x))).flatten(1)  # (B, experts)
        return shares @ self.weight.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return convolved(x, self.kernels(x), self.weight.shape[1], self.kernel, self.stride, self.depthwise)


def convolved(x: Tensor, kernels: Tensor, outputs: int, kernel: int, stride: int, depthwise: bool) -> Tensor:
    """Each image convolved with its own kernel, zeros outside of the map.

    Args:
        x: maps (B, inputs, H, W).
        kernels: (B, weights of a kernel), in the order (outputs, inputs or 1, kernel, kernel).
        outputs: channels of the result.
        kernel: side of the kernels, odd; 1 where they are not depthwise.
        stride: pixels of x for one of the result.
        depthwise: whether each channel has a kernel of its own.
    """
    if depthwise:
        weights = kernels.unflatten(1, (outputs, kernel * kernel))[..., None, None]
        return windowed(x, weights, kernel, 1, stride=stride)
    x = x[..., ::stride, ::stride]
    y = kernels.unflatten(1, (outputs, -1)) @ x.flatten(2)
    return y.unflatten(2, (x.shape[2], x.shape[3]))


class ExpertConvNorm(nn.Sequential):
    """A convolution with mixed kernels, BatchNorm, and an activation where one is named.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        kernel: side of the kernel in pixels, odd.
        stride: pixels of the input for one of the output.
        depthwise: whether each channel has a kernel of its own; the kernel of others is 1x1.
        activation: name of the activation; empty for none.
        experts: kernels that are mixed.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        depthwise: bool = False,
        activation: str = "",
        experts: int,
    ) -> None:
        super().__init__()
        self.conv = ExpertConv(inputs, outputs, kernel, stride=stride, depthwise=depthwise, experts=experts)
        self.norm = nn.BatchNorm2d(outputs)
        if activation:
            self.act = ACTIVATIONS[activation]()

    def folded(self) -> nn.Module:
        """The same without its norm, whose scale every expert takes; for inference."""
        whole = copy.deepcopy(self)
        scale, shift = scale_and_shift(whole.norm)
        with torch.no_grad():
            whole.conv.weight.mul_(scale[:, None, None, None])
        whole.set_submodule("norm", shift)
        return whole
