"""What a cut network is compared with."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from compress.plain import plain_copy
from compress.pruning.channels import Cut, dependency_graph, pruning_group
from compress.pruning.masks import mask


def mask_channels(network: nn.Module, example: Tensor, cuts: Iterable[Cut]) -> nn.Module:
    """A copy of the same shape without what those channels do in every layer they run through.

    Raises:
        ValueError: a cut does not belong to this network.
    """
    masked = plain_copy(network)
    graph = dependency_graph(masked, example)
    mask([part for cut in cuts for part in pruning_group(graph, masked, cut)])
    return masked
