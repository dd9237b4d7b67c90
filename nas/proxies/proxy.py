"""What a zero-cost proxy is, the proxies by name, and what they share.

A proxy scores a network that was not trained, from one batch and one pass or two, in about the time of an
optimizer step: ``proxy(network, images, labels, loss, seed)`` gives a number that is higher the better the
network is thought to be, NaN or infinite where it cannot tell. Its keyword-only parameters are its settings.
"Zero-Cost Proxies for Lightweight NAS" (Abdelfattah et al., ICLR 2021) compares them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from results.registry import Registry

Loss = Callable[[Tensor, Tensor], Tensor]
"""A scalar from outputs and labels."""

PROXIES: Registry[Callable[..., float]] = Registry("zero-cost proxy")
"""Every proxy by name; yours is added with ``PROXIES.register("name")``."""


@contextmanager
def scratch(network: nn.Module, images: Tensor, seed: int) -> Iterator[nn.Module]:
    """A copy of a network in training mode, which a proxy may spoil; the network stays as it is.

    Inside, gradients are on, also those of frozen parameters, and random numbers follow from the seed; the
    global random state is left as it was.
    """
    devices = [images.device] if images.is_cuda else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.manual_seed(seed)
        own = copy.deepcopy(network).train()
        for parameter in own.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
            parameter.grad = None
        yield own


def weights(network: nn.Module) -> list[nn.Parameter]:
    """The parameters of more than one axis: matrices and kernels, not biases or the scales of norms."""
    return [one for one in network.parameters() if one.dim() > 1]


def gradients(own: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> list[tuple[Tensor, Tensor]]:
    """The ``weights`` that the loss depends on, each with its gradient."""
    loss(own(images), labels).backward()
    return [(one.detach(), one.grad) for one in weights(own) if one.grad is not None]
