"""BatchNorm statistics of one network, from fixed images.

A subnet's statistics depend on its own widths, so they are never shared: each network gets the cumulative
average over the same calibration images before it is scored or extracted (BigNAS, Yu et al., ECCV 2020,
section 3.5). What is scored before or after makes no difference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def recalibrate(network: nn.Module, images: Tensor, *, batch_size: int = 128) -> nn.Module:
    """Resets the statistics of every BatchNorm, then averages them over the images; sets eval mode.

    Args:
        network: changed in place (its buffers and mode only).
        images: (N, C, H, W), preprocessed.
        batch_size: images at a time; it takes part in the result, so keep it fixed. A single image left
            over is left out: it has no variance on a map of 1x1, and would weigh as much as a whole batch.

    Returns:
        The network.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    network.eval()
    if not norms:
        return network
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
        norm.train()
    if len(images) > batch_size and len(images) % batch_size == 1:
        images = images[:-1]
    with torch.no_grad():
        for batch in images.split(batch_size):
            network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()
