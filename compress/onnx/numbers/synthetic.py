"""Calibration images without data: inputs whose statistics are those that the norms of a network hold.

"ZeroQ: A Novel Zero Shot Quantization Framework" (Cai et al., CVPR 2020), section 3.1 and equation 2: random
inputs are moved until mean and deviation of what goes into every BatchNorm are the running ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compress.plain import plain_copy


def statistics_loss(norm: _BatchNorm, x: Tensor) -> Tensor:
    """Squared distance of mean and deviation of x (N, channels, ...) from a norm's, a mean over channels."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    others = [axis for axis in range(x.ndim) if axis != 1]
    deviation = (norm.running_var + norm.eps).sqrt()
    mean = (x.mean(others) - norm.running_mean).square().mean()
    spread = ((x.var(others, unbiased=False) + norm.eps).sqrt() - deviation).square().mean()
    return mean + spread


def images_from_statistics(
    network: nn.Module,
    input_shape: tuple[int, ...],
    *,
    count: int = 64,
    steps: int = 100,
    batch_size: int = 32,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Images (count, *input_shape) float32 that a network's norms take for those it was trained on.

    Args:
        network: network with BatchNorms that track their statistics; it is left untouched.
        input_shape: shape of one image.
        count: images to make.
        steps: optimizer steps for each batch.
        batch_size: images that are made together.
        seed: seed of the first numbers.

    Raises:
        ValueError: the network has no such norm.
    """
    copied = plain_copy(network).eval()
    for parameter in copied.parameters():
        parameter.requires_grad_(False)
    norms = [
        part for part in copied.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None
    ]
    if not norms:
        raise ValueError(
            f"{type(network).__name__} has no BatchNorm with statistics, so calibration needs images of yours"
        )
    losses: list[Tensor] = []

    def seen(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        losses.append(statistics_loss(norm, inputs[0]))

    for norm in norms:
        norm.register_forward_pre_hook(seen)
    generator = torch.Generator().manual_seed(seed)
    made = []
    for start in range(0, count, batch_size):
        size = min(batch_size, count - start)
        images = torch.randn(size, *input_shape, generator=generator).requires_grad_()
        optimizer = torch.optim.Adam([images], lr=0.1)
        for _ in range(steps):
            losses.clear()
            copied(images)
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
        made.append(images.detach().numpy())
    return np.concatenate(made).astype(np.float32)
