"""DeiT-S, the ViT of 384 channels, and the space of AutoFormer-small around it.

"Training data-efficient image transformers & distillation through attention" (Touvron et al., ICML 2021),
table 1, for the network: 22 M parameters (22.05 M as its authors publish it) and 4.6 G multiply-accumulates.
"AutoFormer: Searching Transformers for Visual Recognition" (Chen et al., ICCV 2021), table 1, for the space
around it: a width and a depth for the network, heads and MLP ratio for every block. The side of a patch is a
choice where a recipe gives several (``space.strides``), each with a patch embedding of its own.

What differs: the mean of all positions in the place of a token for the class; positions are learned in one
table, without AutoFormer's biases of relative position; no norm after the last block.
"""

from __future__ import annotations

from search_spaces.space import Arch
from search_spaces.spaces.known.published import Published
from search_spaces.spaces.metaformer import MetaFormer, Stage

SPACE = MetaFormer(
    stages=(
        Stage(
            widths=(320, 384, 448),
            depths=(12, 13, 14),
            mixers=("multi_head",),
            ratios=(3, 3.5, 4),
            resolution_step=16,
            norms=("layer",),
            entries=("positioned_patch",),
            options={"multi_head": {"heads": (5, 6, 7), "head_channels": 64}},
            activation="gelu",
        ),
    )
)


def _small() -> Arch:
    arch: dict[str, int | float | str] = {"stage0.width": 384, "stage0.depth": 12}
    for number in range(12):
        block = f"stage0.block{number}"
        arch |= {f"{block}.mixer": "multi_head", f"{block}.heads": 6, f"{block}.ratio": 4}
    return arch


VIT = Published(space=SPACE, base=_small(), parameters=22.05e6, macs=4.6e9)
