"""Channels that a mixer treats differently, so that which is which never depends on the width.

Papers halve the channels, or cut them into n equal groups; where a channel lies then depends on how many
there are. Here parts repeat: of every eight channels the first may go to one part and the others to another,
at any width, so that the leading channels of a wider network are dealt out as those of a narrower.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def dealt(x: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """The parts of (B, C, H, W), each (B, C * size / period, H, W); the period is the sum of the sizes.

    Args:
        x: maps, C a multiple of the period.
        sizes: channels of each part in every period, one or more.
    """
    batch, _, height, width = x.shape
    parts = x.reshape(batch, -1, sum(sizes), height, width).split(list(sizes), dim=2)
    # By index: whoever folds norms traces without sizes, where what is split can't be iterated.
    return [parts[index].reshape(batch, -1, height, width) for index in range(len(sizes))]


def collected(parts: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """The reverse of ``dealt``."""
    batch, _, height, width = parts[0].shape
    periods = [part.reshape(batch, -1, size, height, width) for part, size in zip(parts, sizes, strict=True)]
    return torch.cat(periods, dim=2).reshape(batch, -1, height, width)


def groups_name(group_width: int, groups: int) -> str:
    """The name of a grouped convolution, as weights of groups of another width mean other things.

    One group alone is a dense convolution, which shares weights with no grouped one.
    """
    return f"groups_of_{group_width}" if groups > 1 else f"dense_{group_width}"
