"""The presets of convolutional networks for images of 8x8 to 128x128, with the hand-made families as points.

Widths are multiples of 16, at which convolutions run best on CPUs, and 24. The first block of a stage is a
layer to measure for every pair of widths, stride of the stem and value of its own choices, so stages have few
widths and blocks one value of each choice, that of their papers or what is usual at these widths; a recipe's
options open them. Depths are free.
"""

from __future__ import annotations

from search_spaces.operations.operation import Options
from search_spaces.spaces.convnet import ConvNet, ConvStage

FAMILIES: Options = {
    "plain": {},
    "residual": {"gate": ("none",)},
    "mbconv": {"kernel": (3,), "expansion": (4,), "gate": ("none",)},
    "fused_mbconv": {"expansion": (2,), "gate": ("none",)},
    "convnext": {"kernel": (7,), "ratio": (4,)},
    "depthwise": {"kernel": (3,), "ratio": (2,)},
}
"""VGG, ResNet, MobileNet, EfficientNetV2, ConvNeXt, and the MetaFormer with depthwise convolutions."""


def _stage(widths: tuple[int, ...], depths: tuple[int, ...], stride: int = 2) -> ConvStage:
    return ConvStage(widths=widths, depths=depths, blocks=tuple(FAMILIES), stride=stride, options=FAMILIES)


CONVNETS: dict[str, ConvNet] = {
    # For images of 8x8: maps of 8x8, then 4x4; or half of that.
    "fast-8": ConvNet(stages=(_stage((16, 24, 32), (1, 2), stride=1), _stage((32, 48, 64), (1, 2)))),
    # For images of 32x32: maps of 32x32, 16x16, then 8x8; or half of that.
    "fast-32": ConvNet(
        stages=(
            _stage((16, 24, 32, 64), (1, 2, 3), stride=1),
            _stage((32, 48, 64, 128), (1, 2, 3)),
            _stage((64, 96, 128, 256), (1, 2, 3)),
        ),
    ),
    # For images of 64x64: maps of 32x32 to 4x4, or half of that.
    "fast-64": ConvNet(
        stages=(
            _stage((16, 24, 32), (1, 2), stride=1),
            _stage((32, 48, 64), (1, 2, 3)),
            _stage((64, 96, 128), (1, 2, 3)),
            _stage((128, 192, 256), (1, 2, 3)),
        ),
        stem_strides=(2, 4),
    ),
    # For images of 128x128 and more: maps of 64x64 to 8x8, or half of that.
    "fast-128": ConvNet(
        stages=(
            _stage((16, 24, 32), (1, 2), stride=1),
            _stage((32, 48, 64), (1, 2, 3)),
            _stage((64, 96, 128), (1, 2, 4, 6)),
            _stage((128, 192, 256), (1, 2, 3)),
        ),
        stem_strides=(2, 4),
    ),
}
