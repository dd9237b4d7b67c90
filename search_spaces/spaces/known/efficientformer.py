"""EfficientFormer-L1, and hierarchies of its kind whose last blocks may attend.

"EfficientFormer: Vision Transformers at MobileNet Speed" (Li et al., NeurIPS 2022), table 1: 12.3 M
parameters (12.29 M, of which 0.45 M are the second classifier that it has for its distillation, which is left
out here) and 1.3 G multiply-accumulates. Its supernet, section 3.3, chooses for every block between pooling,
attention and nothing, and widths for stages; here attention is a choice in the last stage, as it is there in
the last two.

What differs: no biases of relative position, which are tables of one size of map; an activation after the
convolutions that downsample.
"""

from __future__ import annotations

from search_spaces.space import Arch
from search_spaces.spaces.known.published import Published
from search_spaces.spaces.metaformer import MetaFormer, Stage

L1 = ((48, 3), (96, 2), (224, 6), (448, 4))
"""Width and number of blocks of each stage of EfficientFormer-L1."""

HEADS = 8


def _stage(index: int) -> Stage:
    width, depth = L1[index]
    last = index == len(L1) - 1
    attending = {"multi_head": {"heads": (4, HEADS), "head_channels": 32, "value_ratio": 4}}
    stem = {"deep": {"layers": 2, "pool": False}}
    return Stage(
        widths=(width // 2, width),
        depths=tuple(range(max(1, depth - 2), depth + 1)),
        mixers=("identity", "pooling", *(("multi_head",) if last else ())),
        ratios=(2, 4),
        resolution_step=2 if index else 4,
        residuals=("layer_scale",),
        entries=("strided",) if index else ("deep",),
        options={"pooling": {"kernel": (3,)}, **(attending if last else {}), **({} if index else stem)},
        activation="gelu",
    )


def _l1() -> Arch:
    arch: dict[str, int | float | str] = {}
    for index, (width, depth) in enumerate(L1):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": depth}
        for number in range(depth):
            block = f"stage{index}.block{number}"
            arch |= {f"{block}.mixer": "pooling", f"{block}.kernel": 3, f"{block}.ratio": 4}
    arch |= {"stage3.block3.mixer": "multi_head", "stage3.block3.heads": HEADS}
    return arch


EFFICIENTFORMER = Published(
    space=MetaFormer(stages=tuple(_stage(index) for index in range(len(L1)))),
    base=_l1(),
    parameters=11.84e6,
    macs=1.3e9,
)
