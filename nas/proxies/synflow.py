"""``synflow``: how much flows through a network whose weights are all positive. It needs no data."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from nas.proxies.proxy import PROXIES, Loss, scratch, weights

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


@PROXIES.register("synflow")
def synflow(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss, seed: int) -> float:  # noqa: ARG001
    """The logarithm of the sum over all weights of weight x gradient of R = 1' f(1; |weights|).

    "Pruning neural networks without any data by iteratively conserving synaptic flow" (Tanaka et al.,
    NeurIPS 2020); as a proxy in Abdelfattah et al. (ICLR 2021), section 3.2, without norms, which
    would undo what flows. Computed in float64, for the sum grows with the power of the depth; the logarithm
    ranks as the sum does.

    Args:
        network: network as initialised; left as it is.
        images: only the shape of one counts, (N, C, H, W).
        labels: not looked at.
        loss: not looked at.
        seed: seed of what is random in a pass.
    """
    with scratch(network, images, seed) as own:
        own = _without_norms(own).eval().double()
        with torch.no_grad():
            for parameter in own.parameters():
                parameter.abs_()
        own(torch.ones_like(images[:1], dtype=torch.float64)).sum().backward()
        flow = [(one.detach() * one.grad).sum() for one in weights(own) if one.grad is not None]
        return float(torch.stack(flow).sum().log()) if flow else float("nan")


def _without_norms(network: nn.Module) -> nn.Module:
    if isinstance(network, _NORMS):
        return nn.Identity()
    for name, child in network.named_children():
        setattr(network, name, _without_norms(child))
    return network
