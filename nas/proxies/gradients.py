"""Proxies from the gradient of the loss at initialisation: ``snip`` and ``grad_norm``."""

from __future__ import annotations

from torch import Tensor, nn

from nas.proxies.proxy import PROXIES, Loss, gradients, scratch


@PROXIES.register("snip")
def snip(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss, seed: int) -> float:
    """Sum over all weights of |weight x gradient|: what removing each would change, to first order.

    "SNIP: Single-shot Network Pruning based on Connection Sensitivity" (Lee et al., ICLR 2019), without
    its normalisation; as a proxy in Abdelfattah et al. (ICLR 2021), section 3.2.

    Args:
        network: network as initialised; left as it is.
        images: one batch, (N, C, H, W).
        labels: their labels.
        loss: loss of outputs and labels.
        seed: seed of what is random in a pass, such as dropout.
    """
    with scratch(network, images, seed) as own:
        found = gradients(own, images, labels, loss)
        return float(sum((weight * gradient).abs().double().sum() for weight, gradient in found))


@PROXIES.register("grad_norm")
def grad_norm(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss, seed: int) -> float:
    """Sum over the layers of the Euclidean norm of their weight's gradient.

    Abdelfattah et al. (ICLR 2021), section 3.2, layer by layer as in the authors' code.

    Args:
        network: network as initialised; left as it is.
        images: one batch, (N, C, H, W).
        labels: their labels.
        loss: loss of outputs and labels.
        seed: seed of what is random in a pass, such as dropout.
    """
    with scratch(network, images, seed) as own:
        found = gradients(own, images, labels, loss)
        return float(sum(gradient.double().norm() for _, gradient in found))
