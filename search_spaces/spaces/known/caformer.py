"""CAFormer-S18, and hierarchies of its kind whose blocks choose between convolution and attention.

"MetaFormer Baselines for Vision" (Yu et al., TPAMI 2024), table 1: 26 M parameters (26.34 M as timm publishes
it) and 4.1 G multiply-accumulates. No space was published; here stages choose width and depth, blocks kernel
and ratio, and in the last two stages the mixer. The base network convolves in the first two stages and
attends in the last two; with convolutions everywhere it is ConvFormer-S18.

What differs: no learned scale of the shortcuts; StarReLU, with its two numbers, in the head too; norms have
shifts, and entries a norm after their convolution.
"""

from __future__ import annotations

from search_spaces.space import Arch
from search_spaces.spaces.known.published import Published
from search_spaces.spaces.metaformer import MetaFormer, Stage

S18 = ((64, 3), (128, 3), (320, 9), (512, 3))
"""Width and number of blocks of each stage of CAFormer-S18."""

HEAD = 32
ATTENDING = 2
"""First stage that attends."""


def _stage(index: int) -> Stage:
    width, depth = S18[index]
    heads = width // HEAD
    attending = {"multi_head": {"heads": (heads // 2, heads), "head_channels": HEAD}}
    return Stage(
        widths=(width // 2, width),
        depths=tuple(range(depth // 3, depth + 1, depth // 3)),
        mixers=("sepconv", "multi_head") if index >= ATTENDING else ("sepconv",),
        ratios=(2, 4),
        resolution_step=2 if index else 4,
        norms=("layer",),
        entries=("overlapping",),
        options={
            "sepconv": {"kernel": (3, 5, 7)},
            "overlapping": {"kernel": (3,) if index else (7,)},
            **(attending if index >= ATTENDING else {}),
        },
        activation="starrelu",
    )


def _s18() -> Arch:
    arch: dict[str, int | float | str] = {}
    for index, (width, depth) in enumerate(S18):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": depth}
        arch[f"stage{index}.overlapping.kernel"] = 3 if index else 7
        for number in range(depth):
            block = f"stage{index}.block{number}"
            arch[f"{block}.ratio"] = 4
            if index < ATTENDING:
                arch |= {f"{block}.mixer": "sepconv", f"{block}.kernel": 7}
            else:
                arch |= {f"{block}.mixer": "multi_head", f"{block}.heads": width // HEAD}
    return arch


CAFORMER = Published(
    space=MetaFormer(stages=tuple(_stage(index) for index in range(len(S18))), hidden_width=2048),
    base=_s18(),
    parameters=26.34e6,
    macs=4.1e9,
)
