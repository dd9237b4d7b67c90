"""A depthwise convolution with a kernel that a module generates; deployed, a plain convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.parts import ACTIVATIONS


class GeneratedConv(nn.Module):
    """Convolves each channel with the kernel that a module gives, (B, C, H, W) -> (B, C, H, W).

    Args:
        kernel: module without inputs that gives (C, 1, height, width), sides odd. Its class sets
            ``of_weights``, as what it does is done once.
    """

    def __init__(self, kernel: nn.Module) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        kernel: Tensor = self.kernel()
        channels, _, height, width = kernel.shape
        return nn.functional.conv2d(x, kernel, padding=(height // 2, width // 2), groups=channels)

    def folded(self) -> nn.Module:
        """The plain convolution, without a rim of the kernel that is zero in all channels."""
        with torch.no_grad():
            kernel = trimmed(self.kernel())
        channels, _, height, width = kernel.shape
        conv = nn.Conv2d(
            channels,
            channels,
            (height, width),
            padding=(height // 2, width // 2),
            groups=channels,
            bias=False,
        )
        conv.weight = nn.Parameter(kernel.clone())
        return conv.to(kernel.device)


def trimmed(kernel: Tensor) -> Tensor:
    """The kernel (C, 1, height, width) without rows and columns that are zero at both ends."""
    for _ in range(2):
        used = (kernel != 0).any(dim=0)[0].any(dim=1)
        used = (used | used.flip(0)).nonzero()
        rim = int(used[0]) if len(used) else len(kernel[0, 0]) // 2
        kernel = kernel[:, :, rim : kernel.shape[2] - rim].transpose(2, 3)
    return kernel


class GeneratedConvNorm(nn.Sequential):
    """A convolution with a generated kernel, BatchNorm, and an activation where one is named.

    Args:
        kernel: module that gives the kernel, as ``GeneratedConv`` takes it.
        channels: C.
        activation: name of the activation; empty for none.
    """

    def __init__(self, kernel: nn.Module, channels: int, *, activation: str = "") -> None:
        super().__init__()
        self.conv = GeneratedConv(kernel)
        self.norm = nn.BatchNorm2d(channels)
        if activation:
            self.act = ACTIVATIONS[activation]()


def offsets(height: int, width: int, unit: float, like: Tensor) -> Tensor:
    """Row and column of every pixel of a kernel from its centre, in units of pixels, (height, width, 2)."""
    sides = [torch.arange(side, device=like.device) - side // 2 for side in (height, width)]
    return torch.stack(torch.meshgrid(*sides, indexing="ij"), dim=-1).to(like.dtype) / unit
