"""Concatenation and a 1x1 convolution, in a form whose leading channels are those of a narrower network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from search_spaces.parts import ACTIVATIONS, ConvNorm


class Aggregate(nn.Module):
    """activation(sum of a 1x1 convolution of each source), several (B, C_i, H, W) -> (B, outputs, H, W).

    Without norms that is the convolution of their concatenation. Written as a sum, an input channel keeps its
    place among the weights when the sources before it get wider; ``folded`` is one convolution again.

    Args:
        sources: channels of each source, by name.
        outputs: channels of the result.
        activation: name of the activation of the sum; empty for none.
    """

    def __init__(self, sources: Mapping[str, int], outputs: int, *, activation: str = "") -> None:
        super().__init__()
        self.sources = nn.ModuleDict({name: ConvNorm(width, outputs) for name, width in sources.items()})
        self.act = ACTIVATIONS[activation]() if activation else nn.Identity()

    def forward(self, given: Sequence[Tensor]) -> Tensor:
        total, *others = (conv(x) for conv, x in zip(self.sources.values(), given, strict=True))
        for other in others:
            total = total + other
        result: Tensor = self.act(total)
        return result

    def folded(self) -> nn.Module:
        """The same as a concatenation and one convolution, in eval mode."""
        parts = [part for part in self.sources.values() if isinstance(part, ConvNorm)]
        merged = [fuse_conv_bn_eval(part.conv, part.norm) for part in parts]
        weight = torch.cat([conv.weight for conv in merged], dim=1)
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            conv.weight.copy_(weight)
            conv.bias = nn.Parameter(
                torch.stack([one.bias for one in merged if one.bias is not None]).sum(dim=0)
            )
        return Concatenated(conv, self.act)


class Concatenated(nn.Module):
    """activation(convolution of the concatenation), what an ``Aggregate`` folds to."""

    def __init__(self, conv: nn.Conv2d, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.act = conv, act

    def forward(self, given: Sequence[Tensor]) -> Tensor:
        result: Tensor = self.act(self.conv(torch.cat(list(given), dim=1)))
        return result
