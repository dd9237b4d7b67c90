"""A network that computes with the numbers that parts of it will have in an int8 file.

Weights are rounded symmetrically for each output channel, what goes into a layer to 256 steps between its
extremes on calibration images, as ``compress.onnx.static`` does it ("Quantizing deep convolutional networks
for efficient inference", Krishnamoorthi 2018). Sums and attention's products stay float: of these the file
shows more.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from compress.names import within

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_STEPS, _MOST = 255, 127
_SMALLEST = 1e-30  # of a step: channels and inputs that are all zero


@torch.no_grad()
def rounded(
    network: nn.Module, parts: Collection[str], images: Tensor, *, batch_size: int = 128
) -> nn.Module:
    """Has the convolutions and linear layers of parts of a network round their weights and inputs to int8.

    Args:
        network: a module in eval mode; changed in place. Weights that it shares with others are left as they
            are: it gets rounded ones of its own.
        parts: qualified names of modules; the empty name is the whole network.
        images: calibration images, (N, ...), on the network's device.
        batch_size: images at a time.

    Returns:
        The network.
    """
    inside = [
        part for name, part in network.named_modules() if isinstance(part, _LAYERS) and within(name, parts)
    ]
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    hooks = [part.register_forward_pre_hook(_watch(seen)) for part in inside]
    for batch in images.split(batch_size):
        network(batch)
    for hook in hooks:
        hook.remove()
    for part, (low, high) in seen.items():  # a layer that never ran is never asked
        step = ((high - low) / _STEPS).clamp_min(_SMALLEST)
        part.register_forward_pre_hook(_round(float(step), int((-low / step).round())))
        part.register_parameter("weight", nn.Parameter(_rounded_weight(part), requires_grad=False))
    return network


def _watch(seen: dict[nn.Module, tuple[Tensor, Tensor]]) -> Any:
    def hook(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        low, high = inputs[0].min().clamp_max(0.0), inputs[0].max().clamp_min(0.0)
        if part in seen:
            low, high = torch.minimum(low, seen[part][0]), torch.maximum(high, seen[part][1])
        seen[part] = low, high

    return hook


def _round(step: float, zero: int) -> Any:
    def hook(part: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        del part
        return (torch.fake_quantize_per_tensor_affine(inputs[0], step, zero, 0, _STEPS), *inputs[1:])

    return hook


def _rounded_weight(part: nn.Module) -> Tensor:
    weight = part.get_parameter("weight").detach()
    steps = (weight.flatten(1).abs().amax(dim=1) / _MOST).clamp_min(_SMALLEST)
    zeros = torch.zeros_like(steps, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, steps, zeros, 0, -_MOST, _MOST)
