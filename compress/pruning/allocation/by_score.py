"""Allocations that go by the share asked for and the scores alone."""

from __future__ import annotations

import torch

from compress.pruning.allocation.allocating import ALLOCATIONS, Allocating


@ALLOCATIONS.register("uniform")
def uniform(asked: Allocating) -> list[int]:
    """The same share of every group."""
    return asked.evenly(asked.keep)


@ALLOCATIONS.register("global")
def together(asked: Allocating) -> list[int]:
    """The channels of the best scores of all groups, so that some layers lose more than others.

    As many channels in all as if every group kept the same share.
    """
    each = torch.cat(
        [
            score.repeat_interleave(group.run * group.parts)
            for group, score in zip(asked.groups, asked.scores, strict=True)
        ]
    )
    threshold = torch.quantile(each, 1 - asked.keep)
    return [
        asked.nearest(index, float((score >= threshold).float().mean()))
        for index, score in enumerate(asked.scores)
    ]
