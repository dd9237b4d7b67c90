"""How much a channel matters: criteria by name, each from a channel group to one score a channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor

Importance = Callable[[Any], Tensor]
"""Takes a ``torch_pruning`` group with all its indices, gives float (channels,); larger matters more."""

NEEDS_GRADIENTS = ("taylor",)


def _random(seed: int) -> Importance:
    generator = torch.Generator().manual_seed(seed)
    return lambda group: torch.rand(len(group[0].idxs), generator=generator)


CRITERIA: dict[str, Callable[[int], Importance]] = {
    # Norm of every weight that goes with the channel, averaged over the layers it runs through
    # ("DepGraph", Fang et al., CVPR 2023, section 3.3).
    "l2": lambda seed: tp.importance.GroupMagnitudeImportance(p=2),
    "l1": lambda seed: tp.importance.GroupMagnitudeImportance(p=1),
    # First-order estimate of the loss without the channel (Molchanov et al., CVPR 2019, equation 8).
    "taylor": lambda seed: tp.importance.GroupTaylorImportance(),
    # Squared norm over that of all channels at least as large (LAMP, Lee et al., ICLR 2021), made to be
    # compared between layers.
    "lamp": lambda seed: tp.importance.LAMPImportance(p=2),
    # The control: any other criterion has to beat it.
    "random": _random,
}


def criterion(name: str, seed: int) -> Importance:
    """The criterion of that name.

    Args:
        name: one of ``CRITERIA``.
        seed: of the criteria that draw.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in CRITERIA:
        raise ValueError(f"unknown importance {name!r}. Valid: {', '.join(CRITERIA)}.")
    return CRITERIA[name](seed)
