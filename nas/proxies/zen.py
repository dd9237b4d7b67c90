"""``zen``: how expressive a network with Gaussian weights is. It needs no data."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.proxies.proxy import PROXIES, Loss, scratch


@PROXIES.register("zen")
def zen(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,  # noqa: ARG001
    loss: Loss,  # noqa: ARG001
    seed: int,
    *,
    change: Annotated[float, Field(gt=0)] = 0.01,
    repeats: Annotated[int, Field(ge=1)] = 4,
) -> float:
    """How far the last maps move when the input does, with what BatchNorm divided out put back.

    "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition" (Lin et al., ICCV 2021), algorithm 1:
    the logarithm of the mean |f(x) - f(x + change e)| for Gaussian x, e and weights, f the network up to its
    pooling and |.| the sum of absolute values, as in the authors' code (the paper has the Frobenius norm);
    plus for each BatchNorm the logarithm of the root of its mean variance. Two things differ:
    shortcuts stay, for a network does not say which of its sums are one, and norms other than BatchNorm,
    whose scale is lost, count nothing. In float64.

    Args:
        network: network; left as it is, and its weights do not count.
        images: only their shape counts, (N, C, H, W).
        labels: not looked at.
        loss: not looked at.
        seed: seed of the weights and inputs.
        change: Size of the change of the input.
        repeats: Draws of weights and inputs, over which the score is averaged.
    """
    with scratch(network, images, seed) as own, torch.no_grad():
        own.double()
        norms = [one for one in own.modules() if isinstance(one, _BatchNorm)]
        return sum(_once(own, norms, images, change) for _ in range(repeats)) / repeats


def _once(own: nn.Module, norms: list[Any], images: Tensor, change: float) -> float:
    for name, parameter in own.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_()
        elif name.endswith("bias"):
            parameter.zero_()
    for norm in norms:
        if norm.affine:
            norm.weight.fill_(1)
    logs: list[float] = []
    hooks = [
        norm.register_forward_pre_hook(lambda _, given: logs.append(_log_scale(given[0]))) for norm in norms
    ]
    inputs = torch.randn(images.shape, dtype=torch.float64, device=images.device)
    maps = _last_maps(own, inputs)
    for hook in hooks:
        hook.remove()
    moved = _last_maps(own, inputs + change * torch.randn_like(inputs))
    distance = float((maps - moved).flatten(1).abs().sum(dim=1).mean())
    return (math.log(distance) if distance > 0 else -math.inf) + sum(logs)


def _log_scale(given: Tensor) -> float:
    """The logarithm of the root of the mean variance that a BatchNorm divides by."""
    places = [axis for axis in range(given.dim()) if axis != 1]
    return 0.5 * float(given.var(dim=places, unbiased=False).mean().log())


def _last_maps(network: nn.Module, inputs: Tensor) -> Tensor:
    """The last maps (N, C, H, W) of more than one place that a module gives; the output where none does."""
    last: list[Tensor] = []

    def keep(_module: nn.Module, _given: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output[0, 0].numel() > 1:
            last[:] = [output]

    hooks = [module.register_forward_hook(keep) for module in network.modules()]
    outputs = network(inputs)
    for hook in hooks:
        hook.remove()
    return last[0] if last else outputs
