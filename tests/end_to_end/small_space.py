"""A space of the user's own, as recipes name it: ``space.module = "small_space.py:small"``."""

from __future__ import annotations

from search_spaces.space import SearchSpace, Shape
from search_spaces.spaces.metaformer import Stage, metaformer

KERNELS = {"depthwise": {"kernel": (3, 5)}}


def small(*, classes: int, input_shape: Shape) -> SearchSpace:
    """Two stages, all four mixers, 200,000 networks that train in no time."""
    stages = [
        Stage(widths=(16, 32), depths=(1, 2), options=KERNELS, ratios=(1, 2), resolution_step=2),
        Stage(widths=(32, 48), depths=(1, 2), options=KERNELS, ratios=(1, 2), resolution_step=2),
    ]
    return metaformer("small", stages, classes=classes, input_shape=input_shape)
