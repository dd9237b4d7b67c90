"""A space with few layers, for runs on runtimes that take long to export one."""

from __future__ import annotations

from search_spaces.space import SearchSpace, Shape
from search_spaces.spaces.metaformer import Stage, metaformer


def tiny(*, classes: int, input_shape: Shape) -> SearchSpace:
    """Two stages of narrow blocks, some two hundred networks."""
    stages = [
        Stage(widths=(width,), depths=(1, 2), mixers=("identity", "pooling"), ratios=(1, 2))
        for width in (8, 16)
    ]
    return metaformer("tiny", stages, classes=classes, input_shape=input_shape)
