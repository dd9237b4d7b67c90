"""Next-ViT-S, and a space of its kind: convolution blocks, and after them one of attention.

"Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial Scenarios" (Li
et al., 2022), table 3: 31.7 M parameters and 5.8 G multiply-accumulates. No space was published; here depths
and ratios of the MLPs are chosen, and how many positions a key of the attention stands for. The stages of
the paper are several here, as their blocks of attention are wider.

What differs: attention and convolution share the width in turn, head by head; keys are averages of squares;
the stem has 48 channels before its last convolution, for 64, 32 and 64.
"""

from __future__ import annotations

from search_spaces.space import Arch
from search_spaces.spaces.convnet import STEM_STRIDE, ConvNet, ConvStage
from search_spaces.spaces.known.published import Published

SMALL = (
    (96, 3, "ncb", 1),
    (192, 3, "ncb", 2),
    (256, 1, "ntb", 4),
    (384, 4, "ncb", 2),
    (512, 1, "ntb", 2),
    (384, 4, "ncb", 1),
    (512, 1, "ntb", 2),
    (768, 2, "ncb", 2),
    (1024, 1, "ntb", 1),
)
"""Width, number and kind of blocks in a row in Next-ViT-S, the stride of ``ncb`` or reduction of
``ntb``."""

HEAD = 32


def _stage(width: int, depth: int, block: str, number: int) -> ConvStage:
    convolving = {"ratio": (2, 3), "head_channels": HEAD}
    attending = {"ratio": (2,), "reduction": (number,) if number == 1 else (1, number), "head_channels": HEAD}
    return ConvStage(
        widths=(width,),
        depths=tuple(range(max(1, depth - 2), depth + 1)),
        blocks=(block,),
        stride=number if block == "ncb" else 1,
        entries=("pooled",),
        options={block: convolving if block == "ncb" else attending},
    )


def _small() -> Arch:
    arch: dict[str, int | float | str] = {STEM_STRIDE: 4}
    for index, (width, depth, block, number) in enumerate(SMALL):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": depth, f"stage{index}.block": block}
        own = f"stage{index}.{block}"
        if block == "ncb":
            arch[f"{own}.ratio"] = 3
        elif number > 1:
            arch[f"{own}.reduction"] = number
    return arch


NEXTVIT = Published(
    space=ConvNet(
        stages=tuple(_stage(*stage) for stage in SMALL),
        stem="deep",
        stem_options={"layers": 4, "share": 0.75, "pool": False},
        stem_strides=(4,),
        stem_width=64,
        activation="relu",
    ),
    base=_small(),
    parameters=31.7e6,
    macs=5.8e9,
)
