"""PoolFormer-S12, and hierarchies of its sizes whose blocks pool or do nothing, at chosen windows and ratios.

"MetaFormer Is Actually What You Need for Vision" (Yu et al., CVPR 2022), table 1: 11.9 M parameters and 1.8 G
multiply-accumulates. No space was published; here stages choose width, depth and the kernel of what
starts them, blocks mixer, window and ratio. The mixer ``identity`` is the paper's ablation (table 5).

What differs: BatchNorms that fold stand after the convolutions, in the place of GroupNorm before both halves
of a block, and the learned scale of the path beside a shortcut is that of the pooling alone.
"""

from __future__ import annotations

from search_spaces.space import Arch
from search_spaces.spaces.known.published import Published
from search_spaces.spaces.metaformer import MetaFormer, Stage

S12 = ((64, 2), (128, 2), (320, 6), (512, 2))
"""Width and number of blocks of each stage of PoolFormer-S12."""


def _stage(index: int) -> Stage:
    width, depth = S12[index]
    return Stage(
        widths=(width // 2, width),
        depths=(depth // 2, depth),
        mixers=("identity", "pooling"),
        ratios=(2, 4),
        resolution_step=2 if index else 4,
        entries=("overlapping",),
        activation="gelu",
    )


def _s12() -> Arch:
    arch: dict[str, int | float | str] = {}
    for index, (width, depth) in enumerate(S12):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": depth}
        arch[f"stage{index}.overlapping.kernel"] = 3 if index else 7
        for number in range(depth):
            block = f"stage{index}.block{number}"
            arch |= {f"{block}.mixer": "pooling", f"{block}.kernel": 3, f"{block}.ratio": 4}
    return arch


POOLFORMER = Published(
    space=MetaFormer(stages=tuple(_stage(index) for index in range(len(S12)))),
    base=_s12(),
    parameters=11.9e6,
    macs=1.8e9,
)
