"""Running statistics of one network's norms, from fixed images.

A subnet's statistics depend on its own widths, so they are never shared: each network gets the cumulative
average over the same calibration images before it is scored or extracted (BigNAS, Yu et al., ECCV 2020,
section 3.5). What is scored before or after makes no difference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase


def recalibrate(network: nn.Module, images: Tensor, *, batch_size: int = 128) -> nn.Module:
    """Resets the running statistics of every norm, then averages them over the images; sets eval mode.

    Args:
        network: changed in place (its buffers and mode only).
        images: (N, C, H, W), preprocessed.
        batch_size: most images at a time; batches are made equal, as each weighs the same. It takes part in
            the result, so keep it fixed.

    Returns:
        The network.
    """
    norms = [one for one in network.modules() if isinstance(one, _NormBase) and one.running_mean is not None]
    network.eval()
    if not norms:
        return network
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        for index, batch in enumerate(images.tensor_split(-(-len(images) // batch_size))):
            for norm in norms:
                # The cumulative average. A BatchNorm counts its calls: recursive blocks have several.
                norm.momentum = None if isinstance(norm, _BatchNorm) else 1 / (index + 1)
            network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()
