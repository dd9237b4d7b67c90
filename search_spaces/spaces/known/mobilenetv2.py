"""MobileNetV2, and the space of ProxylessNAS around its skeleton.

"MobileNetV2: Inverted Residuals and Linear Bottlenecks" (Sandler et al., CVPR 2018), table 2, for the
network: 300 M multiply-accumulates (table 4); 3.5 M parameters as torchvision and Keras publish it, where
that table says 3.4 M. "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware" (Cai et
al., ICLR 2019) for the space: every block chooses its kernel among 3, 5 and 7 and its expansion among 3 and
6, and may be left out.

What differs from ProxylessNAS: blocks are left out from the end of a stage, and widths are MobileNetV2's.
"""

from __future__ import annotations

from search_spaces.space import Arch
from search_spaces.spaces.convnet import STEM_STRIDE, ConvNet, ConvStage
from search_spaces.spaces.known.published import Published

STAGES = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
"""Width, number of blocks and stride of each stage of MobileNetV2."""


def _stage(width: int, depth: int, stride: int) -> ConvStage:
    first = width == STAGES[0][0]
    own = {"kernel": (3,) if first else (3, 5, 7), "expansion": (1,) if first else (3, 6), "gate": ("none",)}
    return ConvStage(
        widths=(width,),
        depths=(1,) if depth == 1 else (1, 2, 3, 4),
        blocks=("mbconv",),
        stride=stride,
        options={"mbconv": own},
        alike=False,
    )


def _base() -> Arch:
    arch: dict[str, int | float | str] = {STEM_STRIDE: 2}
    for index, (width, depth, _) in enumerate(STAGES):
        arch |= {f"stage{index}.width": width, f"stage{index}.depth": depth, f"stage{index}.block": "mbconv"}
        for number in range(depth if index else 0):
            own = f"stage{index}.block{number}.mbconv"
            arch |= {f"{own}.kernel": 3, f"{own}.expansion": 6}
    return arch


MOBILENETV2 = Published(
    space=ConvNet(
        stages=tuple(_stage(*stage) for stage in STAGES),
        stem_strides=(2,),
        stem_width=32,
        last_width=1280,
        activation="relu6",
    ),
    base=_base(),
    parameters=3.5e6,
    macs=300e6,
)
