"""Images of an epoch, where rare classes are to come as often as frequent ones."""

from __future__ import annotations

import torch
from torch import Tensor


def check_balanced(labels: Tensor) -> None:
    """Refuses labels whose classes cannot be drawn equally often.

    Raises:
        ValueError: they are not one class for each image.
    """
    if labels.ndim != 1 or labels.is_floating_point():
        raise ValueError(
            f"data.balance is for one class an image, and the labels are {tuple(labels.shape)} of "
            f"{labels.dtype}; of several labels task.class_weights weighs the rare ones"
        )


def drawn_by_class(order: Tensor, labels: Tensor, balance: float, drawing: torch.Generator) -> Tensor:
    """Images of an epoch as many as before, those of rarer classes more often.

    "Decoupling Representation and Classifier for Long-Tailed Recognition" (Kang et al., ICLR 2020), section
    3: a class of n images is drawn in proportion to n^q; here q = 1 - ``balance``. Draws are evenly spaced
    over the images one after another, so that each comes as often as it should, up to one time.

    Args:
        order: images, shuffled, int64 (N,).
        labels: class of each, int64 (N,), on the CPU.
        balance: 0 draws every image once, 1 all classes equally often, 0.5 by the root of their sizes.
        drawing: generator of the first draw and of the new order.
    """
    counts = torch.bincount(labels).double()
    ends = counts[labels[order]].pow(-balance).cumsum(0)
    first = torch.rand(1, generator=drawing, dtype=torch.float64)
    at = (torch.arange(len(order)) + first) / len(order) * ends[-1]
    drawn = order[torch.searchsorted(ends, at, right=True).clamp(max=len(order) - 1)]
    return drawn[torch.randperm(len(drawn), generator=drawing)]
