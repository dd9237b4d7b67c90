"""The presets of convolutional networks for images of 8x8 to 128x128, with the hand-made families as points.

Widths are multiples of 16, at which convolutions run best on CPUs, and 24 and its doubles. The values of the
blocks' own choices are those that the families have: every further one is another layer to measure for every
pair of widths.
"""

from __future__ import annotations

from search_spaces.operations.operation import Options
from search_spaces.spaces.convnet import ConvNet, ConvStage

FAMILIES = ("residual", "mbconv", "fused_mbconv", "convnext", "depthwise")
"""ResNet, MobileNet, EfficientNetV2, ConvNeXt, and the MetaFormer with depthwise convolutions."""

WITH_ATTENTION = (*FAMILIES, "attention")
"""These and the MetaFormer with attention, where maps are small enough for it."""

OPTIONS: Options = {
    "residual": {"gate": ("none",)},
    "mbconv": {"kernel": (3,), "expansion": (4,), "gate": ("none", "se")},
    "fused_mbconv": {"expansion": (2,), "gate": ("none",)},
    "convnext": {"kernel": (7,), "ratio": (4,)},
    "depthwise": {"kernel": (3, 5), "ratio": (2,)},
    "attention": {"ratio": (2,)},
}


def _stage(
    widths: tuple[int, ...], depths: tuple[int, ...], blocks: tuple[str, ...] = FAMILIES, stride: int = 2
) -> ConvStage:
    own = {name: values for name, values in OPTIONS.items() if name in blocks}
    return ConvStage(widths=widths, depths=depths, blocks=blocks, stride=stride, options=own)


CONVNETS: dict[str, ConvNet] = {
    # For images of 8x8: maps of 8x8, then 4x4; or half of that.
    "fast-8": ConvNet(
        stages=(
            _stage((16, 24, 32), (1, 2), stride=1),
            _stage((32, 48, 64), (1, 2), WITH_ATTENTION),
        ),
    ),
    # For images of 32x32: maps of 32x32, 16x16, then 8x8; or half of that.
    "fast-32": ConvNet(
        stages=(
            _stage((16, 24, 32, 64), (1, 2, 3), stride=1),
            _stage((32, 48, 64, 128), (1, 2, 3)),
            _stage((64, 96, 128, 256), (1, 2, 3), WITH_ATTENTION),
        ),
    ),
}
