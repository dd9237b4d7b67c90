"""Training behind frozen BatchNorm statistics, each norm folded into its convolution on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from compress.onnx.fuse import norm_pairs


class FoldedConv(nn.Module):
    """A convolution and the BatchNorm behind it as one convolution, made anew in each call.

    "Efficient ConvBN Blocks for Transfer Learning and Beyond" (You et al., ICLR 2024), section 3.3,
    Tune mode: with the running statistics fixed, w' = w g / sqrt(v + eps) and b' = (b - m) g / sqrt(v + eps)
    + beta are functions of what is trained, w, b, g and beta. Outputs and gradients are those of the norm in
    eval mode; the map between the two is never made.

    Args:
        conv: Convolution, plain or transposed.
        norm: BatchNorm that alone reads its outputs, with running statistics.
    """

    def __init__(self, conv: _ConvNd, norm: _BatchNorm) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, x: Tensor) -> Tensor:
        """What the norm gives for what the convolution gives."""
        conv, norm = self.conv, self.norm
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = (norm.running_var + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight
        shift = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
        shift = shift * scale if norm.bias is None else shift * scale + norm.bias
        outputs = 1 if isinstance(conv, _ConvTransposeNd) else 0
        shape = [-1 if at == outputs else 1 for at in range(conv.weight.ndim)]
        weight = conv.weight * scale.view(shape)
        if not isinstance(conv, _ConvTransposeNd):
            found: Tensor = conv._conv_forward(x, weight, shift)
            return found
        # It reads its own tensors: for as long as the call takes, these are others.
        own = {"weight": weight} if conv.bias is None else {"weight": weight, "bias": shift}
        found = torch.func.functional_call(conv, own, (x,))
        return found if conv.bias is not None else found + shift.view(-1, *[1] * (found.ndim - 2))


class FrozenNorm(nn.Module):
    """A BatchNorm that stays in eval mode.

    Args:
        norm: BatchNorm.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm.eval()

    def train(self, mode: bool = True) -> FrozenNorm:
        """Everything but the norm follows."""
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The normalised input."""
        found: Tensor = self.norm(x)
        return found


@contextmanager
def frozen_norms(network: nn.Module) -> Iterator[nn.Module]:
    """Frozen running statistics for as long as it lasts, folded into convolutions where that is proved.

    What is trained meanwhile are the network's own parameters; afterwards its modules are what they were.

    Args:
        network: Network, changed in place.
    """
    placed: dict[str, nn.Module] = {}
    for conv_name, norm_name in norm_pairs(network):
        conv, norm = network.get_submodule(conv_name), network.get_submodule(norm_name)
        assert isinstance(conv, _ConvNd)
        assert isinstance(norm, _BatchNorm)
        placed |= {conv_name: conv, norm_name: norm}
        network.set_submodule(conv_name, FoldedConv(conv, norm))
        network.set_submodule(norm_name, nn.Identity())
    for name, module in list(network.named_modules()):
        inside = name.rpartition(".")[0]
        if isinstance(module, _BatchNorm) and not isinstance(network.get_submodule(inside), FoldedConv):
            placed[name] = module
            network.set_submodule(name, FrozenNorm(module))
    try:
        yield network
    finally:
        for name, module in placed.items():
            network.set_submodule(name, module)
