"""A sum over the pixels of a window with weights that may differ for every image, group and position.

Involution, LS convolution, ContMix and convolutions with an image's own kernel are this with other
weights. It goes through the window's pixels one after another: unfolding would hold the activations as
many times as the window has pixels. In training it holds the weights, which are views of one tensor, and
the padded input."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


def windowed(x: Tensor, weights: Tensor, kernel: int, group_channels: int, *, stride: int = 1) -> Tensor:
    """y[b, c, i, j] = sum over t of weights[b, c // group_channels, t, i, j] x[b, c, i + dy(t), j + dx(t)].

    Outside of the map are zeros. Each term is one ``torch.addcmul``: a multiply-accumulate, and counted as
    such.

    Args:
        x: maps (B, C, H, W).
        weights: (B or 1, groups, kernel^2, height, width), pixels of the window row by row; the last two are
            those of the result, or 1.
        kernel: side of the window in pixels, odd.
        group_channels: channels that share weights, C over groups.
        stride: pixels of x for one of the result.

    Returns:
        (B, C, ceil(H / stride), ceil(W / stride)).
    """
    height, width = x.shape[2], x.shape[3]
    padded = nn.functional.pad(x, (kernel // 2,) * 4)
    mixed = x.new_zeros(())
    parts = weights.split(1, dim=2)
    for tap in range(kernel**2):
        down, right = divmod(tap, kernel)
        # Groups come after the shift: pruning takes a slice of five axes for one of channels, without end.
        moved = padded[:, :, down : down + height : stride, right : right + width : stride]
        shifted = moved.unflatten(1, (-1, group_channels))  # (B, groups, group channels, height, width)
        mixed = torch.addcmul(mixed, shifted, parts[tap])
    return mixed.flatten(1, 2)


class Taps(nn.Module):
    """A window of weights for each group at each position, from the channels there: a 1x1 convolution.

    (B, C, H, W) -> (B, groups, kernel^2, H, W). The windows of smaller kernels are the centres of the
    larger, which is why this is no ``nn.Conv2d``: in that one, groups and pixels of the window lie along
    one side."""

    centre_dims: ClassVar = {"weight": (1, 2), "bias": (1, 2)}

    def __init__(self, channels: int, groups: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, kernel, kernel, channels))
        self.bias = nn.Parameter(torch.zeros(groups, kernel, kernel))
        nn.init.kaiming_uniform_(self.weight.view(-1, channels), a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.flatten(0, 2)[..., None, None]
        taps = nn.functional.conv2d(x, weight, self.bias.flatten())
        return taps.unflatten(1, (-1, self.weight.shape[1] * self.weight.shape[2]))
