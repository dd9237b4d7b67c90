"""The kinds of exchange: what a module is exchanged for, and its first values."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from compress.swaps.swap import SWAPS

Odd = Annotated[int, Field(ge=1)]


def _square(module: nn.Module) -> nn.Conv2d | None:
    """A convolution with an odd square kernel of 3 or more, which keeps its place; None for anything else."""
    if type(module) is not nn.Conv2d or module.kernel_size[0] != module.kernel_size[1]:
        return None
    side = module.kernel_size[0]
    plain = module.padding_mode == "zeros" and module.dilation == (1, 1)
    return module if plain and side >= 3 and side % 2 and module.padding == (side // 2,) * 2 else None


@SWAPS.register("separable")
@torch.no_grad()
def separable(old: nn.Module, *, rank: Annotated[int, Field(ge=1)] = 1) -> nn.Module | None:
    """A column and a row in the place of a depthwise kernel, several of each side by side.

    The best of this rank by singular values to begin with; exact where the rank is the side of the kernel.

    Args:
        old: Module that is looked at; a depthwise convolution is exchanged.
        rank: Columns and rows for each channel.
    """
    conv = _square(old)
    if conv is None or not conv.groups == conv.in_channels == conv.out_channels:
        return None
    channels, side = conv.in_channels, conv.kernel_size[0]
    if 2 * rank >= side:
        return None  # as many products as before
    left, values, right = torch.linalg.svd(conv.weight[:, 0].double())
    pad, (down, across) = side // 2, conv.stride
    column = nn.Conv2d(channels, rank * channels, (side, 1), (down, 1), (pad, 0), groups=channels, bias=False)
    row = nn.Conv2d(
        rank * channels,
        channels,
        (1, side),
        (1, across),
        (0, pad),
        groups=channels,
        bias=conv.bias is not None,
    )
    half = values[:, :rank].sqrt()
    column.weight.copy_((left[:, :, :rank] * half[:, None]).transpose(1, 2).reshape(-1, 1, side, 1))
    row.weight.copy_((right[:, :rank] * half[:, :, None])[:, :, None])
    if conv.bias is not None and row.bias is not None:
        row.bias.copy_(conv.bias)
    return nn.Sequential(column, row).to(conv.weight)


@SWAPS.register("narrow")
@torch.no_grad()
def narrow(old: nn.Module, *, side: Odd = 3) -> nn.Module | None:
    """A smaller kernel in the place of a larger one: its middle to begin with.

    Args:
        old: Module that is looked at; a convolution with a larger square kernel is exchanged.
        side: Side of the smaller kernel, odd.
    """
    conv = _square(old)
    if side % 2 == 0:
        raise ValueError(f"the side of a kernel is odd, not {side}")
    if conv is None or conv.kernel_size[0] <= side:
        return None
    made = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        side,
        conv.stride,  # type: ignore[arg-type]
        side // 2,
        groups=conv.groups,
        bias=conv.bias is not None,
    ).to(conv.weight)
    cut = (conv.kernel_size[0] - side) // 2
    made.weight.copy_(conv.weight[:, :, cut : cut + side, cut : cut + side])
    if conv.bias is not None and made.bias is not None:
        made.bias.copy_(conv.bias)
    return made


@SWAPS.register("batch_norm")
def by_batch(old: nn.Module) -> nn.Module | None:
    """A BatchNorm in the place of a LayerNorm over the channels: constants at inference, which fold.

    After "SLAB: Efficient Transformers with Simplified Linear Attention and Progressive Re-parameterized
    Batch Normalization" (Guo et al., ICML 2024). There a LayerNorm fades out while both are trained; here the
    BatchNorm begins as the line through what the LayerNorm gives, channel by channel.

    Args:
        old: Module that is looked at; a LayerNorm over one dimension is exchanged.
    """
    if type(old) is not nn.LayerNorm or len(old.normalized_shape) != 1:
        return None
    return ChannelNorm(old.normalized_shape[0]).to(next(old.parameters(), torch.zeros(())))


class ChannelNorm(nn.Module):
    """A BatchNorm over the last dimension, (..., C) -> (..., C).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(x.flatten(0, -2)).view(x.shape)
        return found

    @torch.no_grad()
    def fit(self, inputs: Tensor, outputs: Tensor) -> None:
        """Statistics of the inputs, and the line of least squares from them to the outputs, both (..., C)."""
        x, y = inputs.flatten(0, -2).double(), outputs.flatten(0, -2).double()
        mean, deviation = x.mean(0), x.std(0, correction=0)
        slope = ((x - mean) * (y - y.mean(0))).mean(0) / deviation.square().clamp(min=1e-12)
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        self.norm.running_mean.copy_(mean)
        self.norm.running_var.copy_(deviation.square())
        self.norm.weight.copy_(slope * (deviation.square() + self.norm.eps).sqrt())
        self.norm.bias.copy_(y.mean(0))

    def folded(self) -> nn.Module:
        """A factor and a summand for each channel, which may fold into what follows."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        return ScaleShift(factor.detach(), (norm.bias - norm.running_mean * factor).detach())


class ScaleShift(nn.Module):
    """A factor and a summand for each channel of (..., C).

    Args:
        factor: (C,).
        summand: (C,).
    """

    def __init__(self, factor: Tensor, summand: Tensor) -> None:
        super().__init__()
        self.factor, self.summand = nn.Parameter(factor), nn.Parameter(summand)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor + self.summand
