"""Swin-T, and hierarchies of its kind whose blocks choose window and shift.

"Swin Transformer: Hierarchical Vision Transformer using Shifted Windows" (Liu et al., ICCV 2021), table 1:
28.3 M parameters and 4.5 G multiply-accumulates. No space was published with it; here stages choose width
and depth, blocks window, shift and ratio. The base network shifts the windows of every second block.

What differs: biases of position come from a small network of the offset (Swin V2), as a table would be of
one window; patches are merged before their norm; no norm after the last block.
"""

from __future__ import annotations

from search_spaces.space import Arch
from search_spaces.spaces.known.published import Published
from search_spaces.spaces.metaformer import MetaFormer, Stage

TINY = ((96, 2), (192, 2), (384, 6), (768, 2))
"""Width and number of blocks of each stage of Swin-T."""

HEAD = 32


def _stage(index: int) -> Stage:
    width, depth = TINY[index]
    return Stage(
        widths=(width * 2 // 3, width),
        depths=(2, 4, 6) if depth == 6 else (1, 2),
        mixers=("window",),
        ratios=(2, 4),
        resolution_step=2 if index else 4,
        norms=("layer",),
        entries=("patch",),
        options={"window": {"window": (4, 7), "shift": (False, True), "head_channels": HEAD}},
        activation="gelu",
    )


def _tiny() -> Arch:
    arch: dict[str, int | float | str] = {}
    for index, (width, depth) in enumerate(TINY):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": depth}
        for number in range(depth):
            block = f"stage{index}.block{number}"
            arch |= {f"{block}.mixer": "window", f"{block}.window": 7, f"{block}.ratio": 4}
            arch[f"{block}.shift"] = number % 2 == 1
    return arch


SWIN = Published(
    space=MetaFormer(stages=tuple(_stage(index) for index in range(len(TINY)))),
    base=_tiny(),
    parameters=28.3e6,
    macs=4.5e9,
)
