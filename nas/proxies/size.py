"""Size as a proxy: parameters and multiply-accumulates, which any other proxy has to beat."""

from __future__ import annotations

from torch import Tensor, nn

from nas.proxies.proxy import PROXIES, Loss, scratch
from search_spaces.reference.macs import count_macs


@PROXIES.register("params")
def params(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss, seed: int) -> float:  # noqa: ARG001
    """Number of parameters."""
    return float(sum(one.numel() for one in network.parameters()))


@PROXIES.register("macs")
def macs(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss, seed: int) -> float:  # noqa: ARG001
    """Multiply-accumulates for one of the images."""
    with scratch(network, images, seed) as own:
        return float(count_macs(own.float(), tuple(images.shape[1:])))
