"""How good a network is on the images of a split."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from runners.tasks import CLASSIFICATION, Task
from runners.training.batches import channels_last


def score(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    task: Task = CLASSIFICATION,
    *,
    batch_size: int = 128,
) -> float:
    """The task's score of a network, in [0, 1]; its accuracy where the task is classification.

    Args:
        network: network on the device of the images; it is put in eval mode.
        images: (N, C, H, W), prepared.
        labels: (N,), int64.
        task: what the network is judged by.
        batch_size: images at a time; does not change the result. More leave the caches of a CPU.

    Raises:
        ValueError: outputs are NaN or infinite, of which no largest is an answer; labels of another shape.
    """
    network.eval()
    outputs = []
    with torch.inference_mode():
        for batch in images.split(batch_size):
            given = network(channels_last(batch))
            if not given.isfinite().all():
                raise ValueError("the network's outputs are not all finite (NaN or infinity)")
            outputs.append(given)
        return task.score(torch.cat(outputs), labels)
