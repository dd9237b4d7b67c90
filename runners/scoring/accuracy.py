"""How good a network is: its share of right answers on a split."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from runners.training.batches import channels_last


def accuracy(network: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = 128) -> float:
    """Share of images whose largest output is their label, in [0, 1]. The network is put in eval mode.

    Args:
        network: on the device of the images.
        images: (N, C, H, W), prepared.
        labels: (N,), int64.
        batch_size: images at a time; does not change the result. More leave the caches of a CPU.

    Raises:
        ValueError: outputs are NaN or infinite, of which no largest is an answer.
    """
    network.eval()
    right = 0
    with torch.inference_mode():
        for batch, target in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            outputs = network(channels_last(batch))
            if not outputs.isfinite().all():
                raise ValueError("the network's outputs are not all finite (NaN or infinity)")
            right += int((outputs.argmax(dim=1) == target).sum())
    return right / len(labels)
