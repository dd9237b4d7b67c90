"""EfficientNet-B0 and EfficientNetV2-S, each with a space of its kind around it.

"EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (Tan and Le, ICML 2019), tables 1
and 2: 5.3 M parameters and 0.39 G multiply-accumulates. "EfficientNetV2: Smaller Models and Faster Training"
(Tan and Le, ICML 2021), table 4, for 384x384: 21.46 M parameters and 8.37 G multiply-accumulates as
torchvision publishes them (22 M and 8.8 G in table 7 of the paper). Both were found in spaces like these
(MnasNet's): every block chooses kernel and expansion here, every stage its depth, at the published widths.

What differs: squeeze and excitation has a ReLU and the hard sigmoid of MobileNetV3; between, it has a
twenty-fourth of the channels it weighs, a quarter of the block's at the expansion 6, whatever the expansion.
"""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.space import Arch
from search_spaces.spaces.convnet import STEM_STRIDE, ConvNet, ConvStage
from search_spaces.spaces.known.published import Published

B0 = (
    (16, 1, 1, 3, 1),
    (24, 2, 2, 3, 6),
    (40, 2, 2, 5, 6),
    (80, 3, 2, 3, 6),
    (112, 3, 1, 5, 6),
    (192, 4, 2, 5, 6),
    (320, 1, 1, 3, 6),
)
"""Width, number of blocks, stride, kernel and expansion of each stage of EfficientNet-B0."""

V2_S = ((24, 2, 1, 1), (48, 4, 2, 4), (64, 4, 2, 4), (128, 6, 2, 4), (160, 9, 1, 6), (256, 15, 2, 6))
"""Width, number of blocks, stride and expansion of each stage of EfficientNetV2-S; the first three fused."""

FUSED = 3


def _stage(width: int, depth: int, stride: int, block: str, own: Mapping[str, object]) -> ConvStage:
    return ConvStage(
        widths=(width,),
        depths=tuple(range(max(1, depth - 2), depth + 1)),
        blocks=(block,),
        stride=stride,
        options={block: own},
        alike=False,
    )


def _b0_stage(width: int, depth: int, stride: int, _kernel: int, expansion: int) -> ConvStage:
    expansions, kernels = ((1,), (3,)) if expansion == 1 else ((3, 4, 6), (3, 5, 7))
    own = {"kernel": kernels, "expansion": expansions, "gate": ("se_24",)}
    return _stage(width, depth, stride, "mbconv", own)


def _v2_stage(index: int) -> ConvStage:
    width, depth, stride, expansion = V2_S[index]
    expansions = (1,) if expansion == 1 else (2, 4) if expansion == 4 else (3, 4, 6)
    if index < FUSED:
        own = {"expansion": expansions, "gate": ("none",)}
        return _stage(width, depth, stride, "fused_mbconv", own)
    own = {"kernel": (3, 5), "expansion": expansions, "gate": ("se_24",)}
    return _stage(width, depth, stride, "mbconv", own)


def _b0() -> Arch:
    arch: dict[str, int | float | str] = {STEM_STRIDE: 2}
    for index, (width, depth, _, kernel, expansion) in enumerate(B0):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": depth, f"stage{index}.block": "mbconv"}
        for number in range(depth if index else 0):
            own = f"stage{index}.block{number}.mbconv"
            arch |= {f"{own}.kernel": kernel, f"{own}.expansion": expansion}
    return arch


def _v2_s() -> Arch:
    arch: dict[str, int | float | str] = {STEM_STRIDE: 2}
    for index, (width, depth, _, expansion) in enumerate(V2_S):
        block = "fused_mbconv" if index < FUSED else "mbconv"
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": depth, f"stage{index}.block": block}
        for number in range(depth if index else 0):
            own = f"stage{index}.block{number}.{block}"
            arch |= {f"{own}.expansion": expansion} | ({f"{own}.kernel": 3} if index >= FUSED else {})
    return arch


EFFICIENTNET_B0 = Published(
    space=ConvNet(
        stages=tuple(_b0_stage(*stage) for stage in B0),
        stem_strides=(2,),
        stem_width=32,
        last_width=1280,
        activation="silu",
    ),
    base=_b0(),
    parameters=5.3e6,
    macs=0.39e9,
)
EFFICIENTNETV2_S = Published(
    space=ConvNet(
        stages=tuple(_v2_stage(index) for index in range(len(V2_S))),
        stem_strides=(2,),
        stem_width=24,
        last_width=1280,
        activation="silu",
    ),
    base=_v2_s(),
    parameters=21.46e6,
    macs=8.37e9,
    side=384,
)
